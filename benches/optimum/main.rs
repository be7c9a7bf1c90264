fn main() {
    coverage::run();
}
mod coverage;
