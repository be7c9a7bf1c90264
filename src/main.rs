//! The program: it only hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    llmsoak::cli::main()
}
