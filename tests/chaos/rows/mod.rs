//! The faults, one row each: what is done, what has to be seen, and who does it.

mod abuse; // callers ask for too much, or take too long
mod database; // Postgres fails
mod failover; // another Postgres takes over
mod kills; // processes of ours are killed
mod leases; // who holds a lease, and who only believes that he does
mod machine; // the machine gives too little, or tells the wrong time
mod overload; // more is told than is taken
mod points; // killed at a named point
mod requests; // ill formed, and full of what nobody should write
mod shared; // what many rows say
mod soak; // a little of everything, for long
mod trouble; // Postgres is there, and does not serve as it should
mod twilio; // Twilio fails
mod way; // the way to Twilio is wrong

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::harness::figures::Figures;
use crate::harness::run::{Form, Run};

pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) fault: &'static str,
    /// What has to be seen, besides the laws.
    pub(crate) seen: &'static str,
    /// Whether every `cargo test` has it.
    pub(crate) short: bool,
    pub(crate) run: fn(Arc<Run>) -> BoxFuture<'static, Figures>,
}

impl Row {
    /// It measures moments, and no other row may run beside it.
    pub(crate) fn is_alone(&self, form: Form) -> bool {
        form.pick(&["F45", "F54", "F55"][..], &["F01", "F45", "F54", "F55"]).contains(&self.id)
    }
}

/// A row of the table.
macro_rules! row {
    ($id:literal, $short:literal, $run:path, $fault:literal, $seen:literal) => {
        Row { id: $id, fault: $fault, seen: $seen, short: $short, run: |run| Box::pin(async move { $run(&run).await }) }
    };
}

pub(crate) const ROWS: &[Row] = &[
    row!(
        "F01",
        true,
        kills::of_workers,
        "kill -9 of one of two workers after 5 to 800 ms, again and again, under load",
        "full form: 200 kills and 20,000 events; what the dead were sending is sent again within 1 s of its lease's end"
    ),
    row!(
        "F02",
        true,
        points::all,
        "kill -9 at 13 named points of taking, claiming, sending, settling, giving back and draining",
        "each point was met every time (full form: 10 times each)"
    ),
    row!(
        "F03",
        true,
        kills::of_intake,
        "kill -9 of one of two intakes in the middle of requests, again and again; callers try again with the same id",
        "full form: 200 kills; whatever was acknowledged is there, once, with the same answer"
    ),
    row!(
        "F04",
        true,
        database::callers_hang_up,
        "callers hang up after 0 to 60 ms while Postgres is 10 ms away; then kill -9",
        "no session stays in a transaction for more than 1 s; Postgres never hears a BEGIN within a transaction (full form: 2,000 who hang up)"
    ),
    row!(
        "F05",
        true,
        database::kill,
        "kill -9 of every process of Postgres, under load, when the one that writes the log for others has been stopped",
        "callers get 2xx or 503, never later than 10 s; taking again within 3 s of Postgres's return, without a restart of ours (full form: 30 kills)"
    ),
    row!(
        "F05-off",
        true,
        database::kill_without_synchronous_commit,
        "the same, with triggers that turn synchronous_commit off behind confirmd's back: a negative control",
        "the checker calls it lost (K1)"
    ),
    row!(
        "F06",
        true,
        database::restarts,
        "Postgres restarts, fast and immediate, in turn; then every session is ended five times a second",
        "callers get 2xx or 503 (full form: 50 restarts and 60 s of ended sessions)"
    ),
    row!(
        "F07",
        true,
        failover::with_a_synchronous_standby,
        "the primary is killed and its synchronous standby promoted, under load, again and again",
        "nothing is lost; callers get 2xx or 503; taking again within 5 s of the promotion, without a restart of ours (full form: 10 times)"
    ),
    row!(
        "F07-off",
        false,
        failover::without_one,
        "the same with a standby that nobody waits for, and that is behind: where the first promise ends",
        "what was acknowledged and is gone is counted; told again with the same ids, all of it is there, once, and is confirmed (full form: 5 times)"
    ),
    row!(
        "F08",
        true,
        database::commits_whose_answer_is_lost,
        "the wire is cut when COMMIT has been carried out and its answer has not come back",
        "callers get 2xx or 503, and no event has two answers (full form: 500 cuts)"
    ),
    row!(
        "F09",
        true,
        database::black_hole,
        "Postgres falls silent: nothing is carried, no connection ends",
        "with server.request_timeout = 2.5 s every request is answered within 3 s; taking again within 5 s of the end of the silence"
    ),
    row!(
        "F10",
        false,
        trouble::exhausted_pool,
        "each batch of events takes 300 ms longer, with 4 sessions for intake and 200 callers",
        "callers get 2xx or 503 in time; /livez stays 200; delivery goes on"
    ),
    row!(
        "F11",
        true,
        trouble::locks,
        "somebody locks one action, and then a whole table",
        "who speaks of the action is told 503 and the others are served; nobody waits longer than server.request_timeout = 2.5 s and a margin"
    ),
    row!(
        "F12",
        true,
        trouble::refused_sessions,
        "Postgres ends all sessions and refuses new ones: no connections allowed, password changed",
        "callers get 2xx or 503; nobody storms Postgres with connections; taking again within 5 s"
    ),
    row!(
        "F13",
        true,
        trouble::quarrels,
        "one statement in five that writes is ended as by a deadlock or a serialization failure",
        "callers get 2xx or 503, in time (full form: 5,000 times)"
    ),
    // Not in every run: it needs root.
    row!(
        "F14",
        false,
        trouble::full_disk,
        "the disk is full for data and for the log, until Postgres ends itself; then there is room again",
        "callers get 2xx or 503; nothing that was acknowledged is lost"
    ),
    row!(
        "F15",
        true,
        kills::unread_logs,
        "nobody takes what the processes log, and they log everything",
        "callers are served all the while, within 2 s; the lines that are dropped are counted; told to stop, it ends in time"
    ),
    // Not in every run: it needs libfaketime.
    row!(
        "F16",
        false,
        leases::wrong_clocks,
        "the machines' clocks are wrong by an hour and by a day, each another way, or run ten times as fast",
        "nobody notices: what is owed is sent once, and in time"
    ),
    // Not in every run: it needs libfaketime.
    row!(
        "F17",
        false,
        machine::jumping_clock,
        "Postgres's clock jumps, forth by an hour and by three, and back by four, under load and while every second request fails",
        "callers get 2xx or 503; what is owed is sent once, unless its lease was ended by the jump; a clock that goes back puts nothing off by more than 85 s"
    ),
    row!(
        "F18",
        true,
        machine::little_of_everything,
        "one replica may open 64 files and is sent 100 connections more; the other has 64 MiB (full form: enforced, which needs root) and as many idle connections as one peer may have",
        "who cannot accept does not spin: below 20 % of a processor; at most 64 MiB and 16 KiB for each connection"
    ),
    // Not in every run: it needs root.
    row!(
        "F19",
        false,
        machine::little_time,
        "one of two replicas gets 5 % of a processor, again and again",
        "callers get 2xx or 503; each further request for a message follows an attempt on record that was interrupted or failed"
    ),
    row!(
        "F21",
        true,
        twilio::hangs,
        "Twilio hangs: accepted, heard, after the status line, in the body",
        "each is ended by the request's time limit and sent again (full form: 200 each)"
    ),
    row!(
        "F22",
        true,
        twilio::resets,
        "Twilio resets the connection at each of these moments",
        "one request an attempt: nothing is repeated behind our back (full form: 100 each)"
    ),
    row!(
        "F23",
        true,
        twilio::closes_when_idle,
        "Twilio closes each connection after its answer, without having said so",
        "nothing but the laws (full form: 1,000)"
    ),
    row!(
        "F24",
        true,
        way::wrong_tls,
        "wrong TLS of 8 kinds: expired, another host, signed by itself, another authority, another name, TLS 1.1, cut in the handshake, none at all",
        "each is refused; no request leaves, nothing is given up, and it goes on by itself"
    ),
    row!(
        "F25",
        true,
        twilio::throttles,
        "429 with Retry-After as seconds, negative, nonsense, a date of the past, and without one",
        "nobody comes back before the time that was named; nothing is given up"
    ),
    row!(
        "F26",
        true,
        twilio::storm,
        "every second request is answered 503 for a while (full form: 60 s); for all of them see F33",
        "at most 2.5 requests for each that is confirmed; nothing is given up"
    ),
    row!(
        "F27",
        true,
        twilio::refusals,
        "408, 425, 5xx, and 4xx that are final",
        "what is given up has an answer of Twilio's that explains it"
    ),
    row!(
        "F28",
        true,
        twilio::bodies,
        "16 bodies that are not what they should be: empty, cut, 10 MB, endless, false gzip, HTML, deep, about another message, with two lengths, no HTTP at all",
        "nothing is falsely confirmed (K4) (full form: 50 each)"
    ),
    row!(
        "F29",
        true,
        twilio::trickles,
        "Twilio answers one byte each 300 ms",
        "it ends at the time limit of the whole request (full form: 100)"
    ),
    row!(
        "F30",
        true,
        twilio::redirects,
        "redirects 301, 302, 303, 307, 308 to another path",
        "none is followed (K7); the account's lane waits, and goes on by itself"
    ),
    row!(
        "F31",
        true,
        twilio::revoked,
        "the credentials are refused for a while (full form: 60 s), and accepted again",
        "at most one probe each 0.5 s (delivery.probe_every); nothing is given up; it goes on without a restart"
    ),
    // Not in every run: it needs root.
    row!(
        "F32",
        false,
        way::wrong_names,
        "the name of Twilio's host is unknown (NXDOMAIN), cannot be told (SERVFAIL), is not told at all, and then has another address",
        "nothing is given up; it goes on within 10 s; a new address is used within 60 s"
    ),
    row!(
        "F33",
        true,
        trouble::outage,
        "Twilio answers 503 to everything for a while, and is well again",
        "at most a probe each half second and replica while it is away (full form: 60 s); all is confirmed after it, and nothing given up"
    ),
    row!(
        "F35",
        true,
        twilio::late,
        "Twilio takes it, and answers after our time limit",
        "each further request is explained (K6), and none of these ends as given up (K11)"
    ),
    row!(
        "F37",
        true,
        leases::both_at_once,
        "an event and its message are told at the same instant, each at another replica",
        "all are taken, and none waits for the other (full form: 10,000 actions)"
    ),
    row!(
        "F38",
        true,
        leases::zombies,
        "a process is stopped (SIGSTOP) with its requests under way until others are sending them, or have, and then goes on",
        "no message is confirmed to two who ran, each further request is explained (K6), no final state goes back (K8, K11) (full form: 40 times)"
    ),
    row!(
        "F39",
        true,
        leases::late_wakers,
        "a process is stopped while leases wait in it for one of 4 places in flight, and goes on when others hold them",
        "it sends none of them: no message is confirmed to two who ran (full form: 20 times)"
    ),
    row!(
        "F45",
        false,
        abuse::one_floods,
        "of a hundred events 95 are one caller's, and then he posts batches of a thousand as fast as he can",
        "the other's p95 is at most twice what it was alone (or 20 ms more); all of his events are taken"
    ),
    row!(
        "F48",
        true,
        kills::orderly_stops,
        "SIGTERM under load, and a new start, again and again",
        "it ends with 0 within its deadline of 5 s and 1 s more, and has ended all it began (full form: 100 times)"
    ),
    row!(
        "F54",
        false,
        overload::tenfold,
        "a slow disk, and ten times as many events (full form: for 60 s) as are taken then",
        "80 % of what is possible is taken, within the deadline; the rest is told 503 at once; no memory grows; 2 s after it all is as before"
    ),
    row!(
        "F55",
        false,
        abuse::slow_peers,
        "one peer opens connections (full form: 2,000 at once, and within a second another for each that is closed) and says nothing, or a byte each half second of a head or a body, or does not read",
        "each is closed within 10 s; the others' p99 is at most twice what it was alone (or 20 ms more)"
    ),
    row!(
        "F56",
        true,
        requests::shapes,
        "36 requests of a wrong size or shape: up to 1 TB, 100,000 deep, 10,000 in a batch, header floods, two lengths, bad chunks, no HTTP",
        "each has the status that is documented, never a 5xx, within 100 ms (short form: 1 s)"
    ),
    row!(
        "F57",
        true,
        requests::content,
        "strings that break programs, in each member, label, header, path and query",
        "never a 5xx; nothing is stored that may not be; each line of the log is whole"
    ),
    row!(
        "F61",
        false,
        soak::of_everything,
        "a little of everything, a fault each 2 to 6 s, for 5 min (`--minutes 60` for an hour)",
        "memory, files and sessions of the replica that lives through it do not grow by more than 1 MiB, 8 and 8 from its second third to its last"
    ),
];
