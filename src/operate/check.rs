//! `confirmd check`: configuration, database and credentials, every fault in one go; and the probe of a running process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use secrecy::ExposeSecret as _;

use crate::config::Config;
use crate::delivery::classify;
use crate::domain::{Class, MessageSid};
use crate::store::{Collation, StoreError, collation, connect_options, pending_migrations, sessions_are_our_own};
use crate::twilio::{Account, Answer, Twilio};

/// What was looked at, and what is wrong with it; `Ok` tells what is right.
pub type Finding = Result<String, String>;

/// Looks at the database: can it be reached, is its schema up to date, and can it find what it holds?
pub async fn database(config: &Config) -> Vec<Finding> {
    let connect = match connect_options(config.database.url.expose_secret()) {
        Ok(connect) => connect,
        Err(fault) => return vec![Err(format!("database.url {fault}"))],
    };
    let schema = async {
        sessions_are_our_own(&connect).await?;
        let pending = pending_migrations(&connect).await?;
        Ok::<Finding, StoreError>(if pending.is_empty() {
            Ok("database: reached, and its schema is up to date".to_owned())
        } else {
            Err(format!("database: {} migration(s) are missing; run `confirmd migrate`", pending.len()))
        })
    };
    match schema.await {
        Ok(schema) => vec![schema, order(collation(&connect).await)],
        Err(error) => vec![Err(format!("database: {error}"))],
    }
}

fn order(collation: Result<Collation, StoreError>) -> Finding {
    match collation {
        Ok(Collation::Bytes) => Ok("database: orders ids by their bytes".to_owned()),
        Ok(Collation::Language(language)) => Ok(format!(
            "database: orders ids as {language} does; one made with `--locale C` is quicker, and its indexes outlive \
             upgrades of the system's libraries"
        )),
        Ok(Collation::Changed { language, then, now }) => Err(format!(
            "database: orders ids as {language} does, whose order was that of version {then} when its indexes were made \
             and is that of {now}: in them an id may not be found that is there, and be taken twice; as its owner: \
             `reindex database`, then `alter database … refresh collation version`"
        )),
        Err(error) => Err(format!("database: {error}")),
    }
}

/// Signs in with each credential of an account.
///
/// The request is the one that is sent all day, for a message that cannot exist: whoever is let in is answered 404.
/// So it needs no more rights than confirmd needs, changes nothing and reads nothing.
pub async fn account(twilio: &Twilio, name: &str, account: &Account) -> Vec<Finding> {
    let nobody = MessageSid::try_from(format!("SM{}", "0".repeat(32))).expect("it has the shape of one");
    let mut findings = Vec::new();
    for (at, credential) in account.credentials.iter().enumerate() {
        let which = if at == 0 { "credential" } else { "second credential" };
        let reply = twilio.send_feedback(account, credential, &nobody).await;
        findings.push(match (classify(&reply.answer), &reply.answer) {
            (Class::NotFound | Class::Confirmed | Class::Rejected, _) => {
                Ok(format!("{name}: Twilio lets its {which} in"))
            }
            (Class::AccountFault, Answer::Http { status, code, .. }) => {
                let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
                Err(format!("{name}: Twilio refuses its {which} with {status}{code}; is it of this region?"))
            }
            (_, Answer::Http { status, .. }) => Err(format!("{name}: Twilio answers {status} now")),
            (_, Answer::None(failure)) => Err(format!("{name}: Twilio cannot be reached: {}", failure.as_str())),
        });
    }
    findings
}

/// How long a running process may take to answer its probe.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Asks a process on this machine whether it lives: for container health checks, where there is no shell and no curl.
///
/// # Errors
/// Where it does not answer 200 in time.
pub fn live(mut listen: SocketAddr) -> Finding {
    if listen.ip().is_unspecified() {
        listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let asked = || -> std::io::Result<String> {
        let mut socket = TcpStream::connect_timeout(&listen, PROBE_LIMIT)?;
        socket.set_read_timeout(Some(PROBE_LIMIT))?;
        socket.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.take(1024).read_to_string(&mut answer)?;
        Ok(answer)
    };
    match asked() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(format!("{listen} is live")),
        Ok(_) => Err(format!("{listen} answers, but not that it is live")),
        Err(error) => Err(format!("{listen} does not answer: {error}")),
    }
}
