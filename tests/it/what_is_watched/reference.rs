//! `deploy/METRICS.md` is what the code says of its metrics.

use confirmd::telemetry::metrics_reference;

use super::{deploy, read};

const BEGIN: &str =
    "<!-- from src/telemetry/names.rs: CONFIRMD_WRITE_REFERENCE=1 cargo test --test it the_reference -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_reference_of_the_metrics_is_what_the_code_says() {
    let text = read("METRICS.md");
    let (before, rest) = text.split_once(BEGIN).expect("deploy/METRICS.md says where its table begins");
    let (table, after) = rest.split_once(END).expect("and where it ends");
    let reference = metrics_reference();
    if std::env::var_os("CONFIRMD_WRITE_REFERENCE").is_some() {
        std::fs::write(deploy("METRICS.md"), format!("{before}{BEGIN}{reference}{END}{after}")).unwrap();
    } else {
        assert_eq!(table, reference, "write it anew with CONFIRMD_WRITE_REFERENCE=1");
    }
}
