//! The engine against the simulated server, on a paused clock: exact numbers, no sleeping.

mod batch;
mod board;
mod canary;
mod choice;
mod good_neighbour;
mod month;
mod roster;
mod slots;
mod stage;
mod time;
mod validity;
mod watch;
mod work;
