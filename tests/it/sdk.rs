//! Twilio's own Python SDK cannot tell the simulator from Twilio.
//!
//! The SDK is installed once, into a virtual environment below `target/tmp`.

use std::path::{Path, PathBuf};

use confirmd::domain::MessageSid;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::simulator::staging::{Staging, TOKEN, message};

const SDK: &str = "twilio==9.13.0";

#[tokio::test]
async fn the_official_sdk_sends_confirms_and_reads_errors() {
    let python = match python_with_sdk().await {
        Ok(python) => python,
        Err(reason) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "continuous integration must run this: {reason}");
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let throttled = message(9);
    let staging = Staging::with(|_| {}).await;
    staging.sim.play(format!("429;message={throttled}").parse().unwrap());
    let story = run(Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sdk.py"))
        .env("ACCOUNT", staging.account.as_str())
        .env("TOKEN", TOKEN)
        .env("SIMULATOR", staging.sim.base_url())
        .env("THROTTLED", throttled.as_str()))
    .await
    .unwrap();
    let story: Value = serde_json::from_str(&story).unwrap();

    let sid = story["created"]["sid"].as_str().unwrap();
    assert_eq!(story["created"]["status"], "queued");
    assert_eq!(story["fetched"], json!({"status": "delivered", "subresources": ["feedback", "media"]}));
    assert_eq!(story["feedback"]["message_sid"], sid);
    assert_eq!(story["feedback"]["outcome"], "confirmed");
    assert_eq!(story["unchanged"], "confirmed");
    for date in [&story["created"]["date"], &story["feedback"]["updated"]] {
        assert!(chrono::DateTime::parse_from_rfc3339(date.as_str().unwrap()).is_ok(), "{date}");
    }
    assert_eq!(story["listed"], json!([sid]));
    assert_eq!(story["deleted"], true);

    for (mistake, status, code) in [
        ("wrong token", 401, 20003),
        ("never sent", 404, 20404),
        ("bad outcome", 400, 20422),
        ("no recipient", 400, 21604),
        ("bad recipient", 400, 21211),
        ("throttled", 429, 20429),
    ] {
        let error = &story["errors"][mistake];
        assert_eq!((&error["status"], &error["code"]), (&json!(status), &json!(code)), "{mistake}");
    }
    assert_eq!(story["errors"]["wrong token"]["msg"], "Unable to create record: Authenticate");
    assert_eq!(story["gone"]["code"], 20404);

    let sid: MessageSid = sid.to_owned().try_into().unwrap();
    assert_eq!(staging.sim.confirmed(&sid), Some(1));
    let ledger = staging.sim.ledger();
    let feedback = ledger.iter().find(|entry| entry.applied && entry.body.is_some()).unwrap();
    assert!(feedback.user_agent.as_ref().unwrap().starts_with("twilio-python/9.13.0"));
    assert_eq!(feedback.body.as_deref(), Some("Outcome=confirmed"));
}

/// The environment's interpreter, with the SDK in it; or why there is none: no Python, or no PyPI.
async fn python_with_sdk() -> Result<PathBuf, String> {
    run(Command::new("python3").arg("--version")).await?;
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("twilio-sdk");
    let python = environment.join("bin/python");
    let installed = run(Command::new(&python).args(["-c", "import twilio; print(twilio.__version__)"])).await;
    if installed.is_ok_and(|version| SDK.ends_with(&format!("=={}", version.trim()))) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment)).await.unwrap();
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", SDK])).await?;
    Ok(python)
}

/// What the command printed, or what it complained about.
async fn run(command: &mut Command) -> Result<String, String> {
    let ran = command.kill_on_drop(true).output().await.map_err(|error| format!("{command:?}: {error}"))?;
    match ran.status.success() {
        true => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr))),
    }
}
