//! Twilio fails.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::shared::{given_up, millis, only_503, takes};
use crate::harness::comes_true;
use crate::harness::figures::Figures;
use crate::harness::run::Run;
use crate::harness::world::{PLAIN, World, authorization};
use crate::outside::orders::{Happening, How, Phase, Rule, Say};

const LONGEST: Duration = Duration::from_secs(240);

/// Under load, plays these one after the other until each was met often enough, and is then accounted for.
async fn plays(run: &Run, name: &str, rules: Vec<Rule>, each: usize) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, name, &PLAIN).await;
    let load = world.load(6, millis(15));
    for rule in rules {
        let told = format!("{:?}", rule.say);
        let told: String = told.chars().take(60).collect();
        let played = || (0..2).map(|by| world.outside.times(&Happening::Played { by: by.to_string() })).sum::<usize>();
        let stopped =
            || (0..2).map(|by| world.outside.times(&Happening::Stopped { by: by.to_string() })).sum::<usize>();
        let before = (played(), stopped());
        let stops = matches!(rule.say, Say::Stop { .. });
        let rule_says = rule.say.clone();
        // Of two or three one: more in a row, and the breaker leaves Twilio alone.
        world.outside.play(rule.times(u64::try_from(each).unwrap()).chance(0.4)).await;
        let met = || if stops { stopped() - before.1 } else { played() - before.0 };
        let connecting = matches!(rule_says, Say::Stop { at: Phase::Accepted, .. });
        let enough = comes_true(LONGEST, async || {
            if connecting && each > met() {
                // Connections are kept: without new ones nobody would meet this.
                for by in 0..2 {
                    world.outside.cut(&format!("twilio-{by}")).await;
                }
                sleep(millis(250)).await;
            }
            each <= met()
        })
        .await;
        if !enough {
            figures.show(format!("{told} was met {} times (at least {each})", met()), false);
        }
        world.outside.behave().await;
    }
    load.end().await;
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

fn stop(at: Phase, how: How) -> Rule {
    let rule = Rule::always(Say::Stop { at, how });
    // What Twilio has heard, it does.
    if at == Phase::Accepted { rule } else { rule.taken() }
}

pub(super) async fn hangs(run: &Run) -> Figures {
    let rules = [Phase::Accepted, Phase::Heard, Phase::StatusLine, Phase::MidBody].map(|at| stop(at, How::Hang));
    plays(run, "F21", rules.into(), run.form.pick(4, 200)).await
}

pub(super) async fn resets(run: &Run) -> Figures {
    let rules = [Phase::Accepted, Phase::Heard, Phase::StatusLine, Phase::MidBody].map(|at| stop(at, How::Reset));
    plays(run, "F22", rules.into(), run.form.pick(6, 100)).await
}

pub(super) async fn closes_when_idle(run: &Run) -> Figures {
    plays(run, "F23", vec![stop(Phase::Answered, How::Close)], run.form.pick(30, 1000)).await
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Rule {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Rule::always(Say::Answer { status, headers, body: body.to_owned() })
}

pub(super) async fn bodies(run: &Run) -> Figures {
    let raw = |text: &str| Rule::always(Say::Raw(text.to_owned())).taken();
    let big = " ".repeat(10_000_000);
    let deep = "[".repeat(100_000);
    let agreeing = r#"{"message_sid": "{sid}", "outcome": "confirmed"}"#;
    let rules = vec![
        answer(200, &[], "").taken(),
        answer(200, &[], "{").taken(),
        answer(200, &[], &big).taken(),
        Rule::always(Say::Endless).taken(),
        answer(200, &[("content-encoding", "gzip")], "\u{1f}not gzip").taken(),
        answer(200, &[], "<html>Sign in</html>").taken(),
        answer(200, &[], "\u{feff}{}").taken(),
        answer(200, &[], "\0").taken(),
        answer(200, &[], &deep).taken(),
        answer(200, &[], r#"{"outcome": "confirmed", "outcome": "unconfirmed"}"#).taken(),
        answer(200, &[], r#"{"message_sid": "SM00000000000000000000000000000000", "outcome": "confirmed"}"#).taken(),
        answer(200, &[], r#"{"message_sid": "{sid}", "outcome": "unconfirmed"}"#).taken(),
        raw(&format!("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{agreeing}")),
        raw(&format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\n{agreeing}")),
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        raw("no HTTP at all"),
    ];
    plays(run, "F28", rules, run.form.pick(2, 50)).await
}

pub(super) async fn trickles(run: &Run) -> Figures {
    plays(run, "F29", vec![Rule::always(Say::Trickle { pause: 300 }).taken()], run.form.pick(6, 100)).await
}

pub(super) async fn redirects(run: &Run) -> Figures {
    // The second host is Twilio's own port under a path that nobody owes: K7 would see a request there, and any GET.
    let to = |status| answer(status, &[("location", "/elsewhere")], "");
    plays(run, "F30", [301, 302, 303, 307, 308].map(to).into(), 1).await
}

pub(super) async fn refusals(run: &Run) -> Figures {
    let each = run.form.pick(1, 4);
    let rules =
        [408, 425, 500, 502, 503, 504, 599, 400, 410, 422].map(|status| answer(status, &[], "{\"code\": 20001}"));
    plays(run, "F27", rules.into(), each).await
}

/// An answer that comes after our time limit: Twilio has taken it.
pub(super) async fn late(run: &Run) -> Figures {
    let rule = Rule::always(Say::Takes { status: 201, late: 700 });
    plays(run, "F35", vec![rule], run.form.pick(20, 300)).await
}

pub(super) async fn throttles(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F25", &PLAIN).await;
    let waits = |text: &str| answer(429, &[("retry-after", text)], "{\"code\": 20429}").times(8);
    for text in ["2", "-1", "abc", "Thu, 30 Jul 2015 20:01:30 GMT"] {
        world.outside.play(waits(text)).await;
    }
    world.outside.play(answer(429, &[], "").times(8)).await;
    let load = world.load(6, millis(20));
    takes(&world, run.form.pick(100, 2000), LONGEST).await;
    load.end().await;
    world.drains(LONGEST).await;
    let mut too_early = 0;
    let requests = world.twilio();
    let throttled = |heard: &&crate::harness::witness::Heard| heard.said.is_some_and(|said| said.status == 429);
    for first in requests.iter().filter(throttled).take(8) {
        let next = requests.iter().find(|next| next.message_sid == first.message_sid && first.at < next.at);
        too_early += usize::from(next.is_some_and(|next| next.at < first.at + 1950));
    }
    figures.did(format!("{} answers of 429", requests.iter().filter(throttled).count()));
    figures.none("of the eight told to wait 2 s that came earlier", too_early);
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// Every second request is answered 503, for a while.
pub(super) async fn storm(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F26", &PLAIN).await;
    world.outside.play(answer(503, &[], "{\"code\": 20503}").chance(0.5)).await;
    let load = world.load(6, millis(15));
    let seconds = run.form.pick(6, 60);
    sleep(Duration::from_secs(seconds)).await;
    load.end().await;
    let drained = world.drains(LONGEST).await;
    let requests = world.twilio();
    let confirmed = requests.iter().filter(|heard| heard.is_confirmed()).count();
    figures.did(format!("a storm of {seconds} s"));
    figures.show("all is confirmed in the middle of it", drained && 0 < confirmed);
    let amplification = requests.len() as f64 / confirmed.max(1) as f64;
    figures
        .show(format!("requests for each that was confirmed: {amplification:.2} (at most 2.5)"), amplification <= 2.5);
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

pub(super) async fn revoked(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let world = World::new(run, "F31", &PLAIN).await;
    world.outside.credentials(authorization("another")).await;
    let load = world.load(6, millis(15));
    assert!(takes(&world, 100, LONGEST).await, "callers are served");
    let (before, begun) = (world.twilio().len(), Instant::now());
    sleep(Duration::from_secs(run.form.pick(4, 60))).await;
    let probes = world.twilio().len() - before;
    // One each half second for all replicas together, and a little for the edges.
    let most = usize::try_from(begun.elapsed().as_millis() / 500).unwrap() + 2;
    figures.at_most("requests while the credentials are refused", probes, most);
    figures.none("given up", given_up(&world).await);
    world.outside.credentials(authorization(crate::harness::world::TOKEN)).await;
    load.end().await;
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}
