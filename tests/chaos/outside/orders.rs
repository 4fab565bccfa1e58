//! What the rows may ask of the world outside, and what it tells them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// A port of Twilio's, for one replica: the ledger then tells who asked.
    OpenTwilio {
        by: String,
    },
    /// A wire that leads there, from an address of its own or from any.
    OpenWire {
        name: String,
        at: Option<SocketAddr>,
        to: SocketAddr,
        kind: Kind,
    },
    Weather {
        name: String,
        weather: Weather,
    },
    /// A port that speaks TLS as it is told, and leads there.
    OpenTls {
        name: String,
        to: SocketAddr,
    },
    Present {
        name: String,
        presents: Presents,
    },
    /// From now on a wire leads there.
    Lead {
        name: String,
        to: SocketAddr,
    },
    /// Resets every connection of a wire, now.
    Cut {
        name: String,
    },
    Gate {
        name: String,
        gate: Gate,
    },
    OpenGate {
        name: String,
    },
    /// Twilio plays this from now on, after the rules that are in play.
    Play(Rule),
    /// Twilio behaves.
    Behave,
    /// From now on only this `Authorization` opens the account.
    Credentials {
        authorization: String,
    },
}

/// What a wire understands of what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Postgres,
    Http,
}

/// What a port that speaks TLS does when it has heard a client's hello.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Presents {
    /// This certificate, in the files `NAME.pem` and `NAME.key` of the row's folder.
    Certificate(String),
    /// The same, to clients that name another host.
    CertificateOfAnother(String),
    /// The alert of a server that knows no newer version than TLS 1.1.
    OldVersion,
    /// Half of its own hello, and then the end of the connection.
    Half,
    /// Plain HTTP.
    #[default]
    NoTls,
}

/// How a wire carries bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Weather {
    /// Milliseconds that a byte takes, each way.
    pub(crate) delay: u64,
    /// Nothing is carried, and no connection ends.
    pub(crate) silent: bool,
    /// New connections are reset.
    pub(crate) refuses: bool,
}

/// A place on a wire at which something happens to a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) place: Place,
    pub(crate) then: Then,
    /// How often the gate is met at most.
    pub(crate) times: u32,
    /// How likely it is met by each that passes.
    pub(crate) chance: f64,
}

/// On a Postgres wire: the statement, by its name in the code (`Outbox::claim`) or its first word (`COMMIT`).
/// On an HTTP wire: `head` or `body` of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// It was said by the client, and has not been carried.
    Before(String),
    /// It was carried and answered, and its answer is not carried back.
    After(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Then {
    /// The connection carries nothing more, and stays.
    Hold,
    /// The connection is reset.
    Cut,
}

/// What Twilio says, and to which requests. Of several rules the first that is due is played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) say: Say,
    /// How often it is played at most; none: always.
    pub(crate) times: Option<u64>,
    /// How likely it is played to each request.
    pub(crate) chance: f64,
    /// Twilio takes the feedback all the same.
    pub(crate) taken: bool,
    /// Only to this replica; none: to all.
    pub(crate) only_to: Option<String>,
}

impl Rule {
    pub(crate) fn always(say: Say) -> Self {
        Self { say, times: None, chance: 1.0, taken: false, only_to: None }
    }

    pub(crate) fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    pub(crate) fn chance(self, chance: f64) -> Self {
        Self { chance, ..self }
    }

    pub(crate) fn taken(self) -> Self {
        Self { taken: true, ..self }
    }

    pub(crate) fn only_to(self, replica: usize) -> Self {
        Self { only_to: Some(replica.to_string()), ..self }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Say {
    /// The answer of one who takes it, with 200 or 201, after so many milliseconds.
    Takes { status: u16, late: u64 },
    /// An answer with this status, these headers and this body; `{sid}` in the body is the message's.
    Answer { status: u16, headers: Vec<(String, String)>, body: String },
    /// These bytes and nothing else, then the end of the connection; `{sid}` is the message's.
    Raw(String),
    /// The answer of one who takes it, one byte each so many milliseconds.
    Trickle { pause: u64 },
    /// A body without an end.
    Endless,
    /// The answer of one who takes it, up to a phase.
    Stop { at: Phase, how: How },
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The connection stands, and nothing was read.
    Accepted,
    /// The request is read to its last byte.
    Heard,
    /// The status line is sent.
    StatusLine,
    /// Half of the answer's body is sent.
    MidBody,
    /// The answer is sent, and the connection idles.
    Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Hang,
    Reset,
    Close,
}

/// A line of what the world outside says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Line {
    Answer(Result<Option<SocketAddr>, String>),
    Happened(Happening),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Happening {
    /// A client connected to this wire.
    Connected { name: String },
    /// A connection met the gate of this wire.
    Gate { name: String },
    /// Twilio stopped an exchange with this replica.
    Stopped { by: String },
    /// Twilio played a rule to this replica.
    Played { by: String },
}
