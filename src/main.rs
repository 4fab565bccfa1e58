//! The binary: reads the command line, and does what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match confirmd::cli::Cli::read() {
        Ok(cli) => cli,
        Err(exit_code) => return exit_code,
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => {
            eprintln!("confirmd: cannot start its threads: {error}");
            ExitCode::from(75)
        }
    }
}
