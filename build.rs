//! Tells the program which revision and which compiler it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        text.lines().next().map(str::to_owned)
    };
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let unknown = || "unknown".to_owned();
    let revision = first_line("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(unknown);
    println!("cargo::rustc-env=LLMSOAK_REVISION={revision}");
    println!("cargo::rustc-env=LLMSOAK_RUSTC={}", first_line(&rustc, &["--version"]).unwrap_or_else(unknown));
    // A commit moves the branch, not what `HEAD` says; its log has a line of each.
    for place in ["HEAD", "logs/HEAD"] {
        if let Some(path) =
            first_line("git", &["rev-parse", "--git-path", place]).filter(|path| Path::new(path).exists())
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}
