fn main() {
    let only = std::env::var("ONLY").unwrap_or_default();
    if only.contains("a") {
        adaptive::run();
    }
    if only.contains("n") {
        naming::run();
    }
    if only.contains("c") {
        coverage::run();
    }
}
mod adaptive;
mod chance;
mod coverage;
mod naming;
mod truth;
