//! How long a connection to Twilio is used.

use std::time::Duration;

use confirmd::twilio::{Account, Answer, Credential, Twilio, TwilioOptions};
use secrecy::SecretString;

use crate::harness::peer::Peer;
use crate::harness::world::{HOUR, TOKEN, account, sid};

const PATIENCE: Duration = Duration::from_secs(20);

fn options(longest_connection: Duration) -> TwilioOptions {
    TwilioOptions { request_timeout: PATIENCE, connect_timeout: PATIENCE, longest_connection }
}

/// Confirms this often, one after the other, and each is agreed with.
async fn confirms(twilio: &Twilio, base_url: &str, times: usize) {
    let credential = Credential { username: account(1).to_string(), password: SecretString::from(TOKEN) };
    let account =
        Account { account_sid: account(1), base_url: base_url.parse().unwrap(), credentials: vec![credential] };
    for _ in 0..times {
        let reply = twilio.send_feedback(&account, &account.credentials[0], &sid(1)).await;
        assert!(matches!(reply.answer, Answer::Http { status: 200, .. }), "{reply:?}");
    }
}

#[tokio::test]
async fn a_connection_is_used_again_until_its_time_is_over() {
    let mut peer = Peer::that_agrees("{}").await;
    let twilio = Twilio::new(&options(HOUR)).unwrap();
    confirms(&twilio, &peer.base_url(), 5).await;
    assert_eq!(peer.connections(), 1);
    drop(twilio);
    peer.is_left().await;

    let twilio = Twilio::new(&options(Duration::ZERO)).unwrap();
    confirms(&twilio, &peer.base_url(), 5).await;
    assert_eq!(peer.connections(), 1 + 5, "the time of each is over at once");
    for _before_the_last in 0..4 {
        peer.is_left().await;
    }
}

/// Where the authorities' certificates are the operating system's to keep, there is no file that can be gone.
#[cfg(target_os = "linux")]
mod without_certificates {
    use std::process::Command;

    use super::*;

    const TWILIO: &str = "CONFIRMD_TEST_TWILIO";
    const CERTIFICATES: &str = "SSL_CERT_FILE";

    #[tokio::test]
    async fn where_tls_cannot_be_set_up_again_the_connections_stay_as_they_are() {
        let peer = Peer::that_agrees("{}").await;
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("authorities.pem");
        std::fs::write(&certificates, include_str!("samples/authority.pem")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["connected_to_twilio::without_certificates::loses_its_certificates", "--exact", "--ignored"]);
        command.env(TWILIO, peer.base_url()).env(CERTIFICATES, &certificates).env_remove("SSL_CERT_DIR");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        assert_eq!(peer.connections(), 1);
    }

    #[tokio::test]
    #[ignore = "a part of another test, which runs it in an environment of its own"]
    async fn loses_its_certificates() {
        let (Ok(base_url), Ok(certificates)) = (std::env::var(TWILIO), std::env::var(CERTIFICATES)) else { return };
        let twilio = Twilio::new(&options(Duration::ZERO)).unwrap();
        std::fs::remove_file(certificates).unwrap();
        assert!(Twilio::new(&options(Duration::ZERO)).is_err(), "there are none any more");
        confirms(&twilio, &base_url, 5).await;
    }
}
