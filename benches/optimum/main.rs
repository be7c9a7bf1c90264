fn main() {
    naming::run();
    if std::env::var("ALL").is_ok() {
        coverage::run();
    }
}
mod chance;
mod coverage;
mod naming;
mod truth;
