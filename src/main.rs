//! The binary: reads the command line, and does what it says.

use std::process::ExitCode;

/// Every request allocates a few dozen times on whichever thread has it: glibc's allocator took a fifth of the processor
/// time of the whole path.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match confirmd::cli::Cli::read() {
        Ok(cli) => cli,
        Err(exit_code) => return exit_code,
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(cli.run());
            // A name that is still being looked up would hold us here for as long as it takes.
            runtime.shutdown_background();
            confirmd::telemetry::flush_logs();
            code
        }
        Err(error) => {
            eprintln!("confirmd: cannot start its threads: {error}");
            ExitCode::from(75)
        }
    }
}
