//! A configuration file, with a secret at its end that no complaint may show.
#![no_main]

use confirmd::config::{Config, Environment, Role};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "0a1b2c3d4e5f-the-canary";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A file that it names would be read, and the machine's files are none of this.
    if text.contains("_file") || text.contains("\\u") || text.contains("\\U") {
        return;
    }
    let text = format!("{text}\n[[accounts]]\naccount_sid = \"AC0123456789abcdef0123456789abcdef\"\nauth_token = \"{SECRET}\"\n");
    let environment = [("DATABASE_URL", "postgres://confirmd@127.0.0.1/confirmd")].into_iter().collect::<Environment>();
    match Config::from_layers(Some(("confirmd.toml", &text)), &environment, Role::Worker) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains(SECRET));
            let (delivery, intake) = (&config.delivery, &config.intake);
            assert!(delivery.request_timeout * 2 < delivery.lease);
            assert!(delivery.backoff_first <= delivery.backoff_longest && delivery.backoff_longest < delivery.give_up_after);
            assert!(intake.batch <= intake.max_waiting);
        }
        Err(error) => {
            assert!(!error.faults.is_empty());
            assert!(error.faults.iter().all(|fault| !fault.key.is_empty() && !fault.problem.is_empty()));
            assert!(!error.to_string().contains(SECRET));
        }
    }
});
