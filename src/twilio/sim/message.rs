//! One simulated message, and how it looks as Twilio's Message and Feedback resources.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::clock::rfc_2822;
use super::create::Creation;
use super::segments;
use crate::domain::{AccountSid, MessageSid};

/// A message that Twilio knows.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) message_sid: MessageSid,
    pub(super) account_sid: AccountSid,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    /// When it became known, by a clock that only moves forward.
    pub(super) known_since: Instant,
    /// What was sent. Nothing for a message that only its Feedback told of.
    pub(super) sent: Option<Box<Creation>>,
    pub(super) provide_feedback: bool,
    pub(super) canceled: bool,
    /// Kept as a gravestone, so that Feedback does not bring it back.
    pub(super) deleted: bool,
    pub(super) feedback_requests: u64,
    pub(super) outcome: FeedbackOutcome,
    /// How many times Feedback with the outcome `confirmed` took effect.
    pub(super) confirmed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedbackOutcome {
    Unconfirmed,
    Confirmed,
}

impl FeedbackOutcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Confirmed => "confirmed",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        [Self::Unconfirmed, Self::Confirmed].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// How far a message has come when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The answer to its creation.
    Created,
    /// Any later: simulated messages arrive at once.
    Later,
}

impl Message {
    fn path(&self) -> String {
        format!("/2010-04-01/Accounts/{}/Messages/{}", self.account_sid, self.message_sid)
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.scheduled) && !self.canceled
    }

    pub(super) fn resource(&self, stage: Stage) -> MessageResource<'_> {
        let sent = self.sent.as_deref();
        let service = sent.and_then(|sent| sent.messaging_service_sid.as_deref());
        let status = match stage {
            _ if self.canceled => "canceled",
            _ if self.is_scheduled() => "scheduled",
            Stage::Created if service.is_some() => "accepted",
            Stage::Created => "queued",
            Stage::Later => "delivered",
        };
        let arrived = status == "delivered";
        let num_segments = match status {
            "accepted" | "scheduled" | "canceled" => 0,
            _ => sent.map_or(0, |sent| segments::count(&sent.body)),
        };
        // the service's choice is known once the message is on its way
        let from = sent.and_then(|sent| sent.from.as_deref()).or(sent.and(arrived.then_some("+15005550006")));
        let path = self.path();
        MessageResource {
            body: sent.map(|sent| sent.body.as_str()),
            num_segments: num_segments.to_string(),
            direction: "outbound-api",
            from,
            date_updated: rfc_2822(self.updated_at),
            price: arrived.then_some("-0.00750"),
            error_message: None,
            uri: format!("{path}.json"),
            account_sid: self.account_sid.as_str(),
            num_media: sent.map_or(0, |sent| sent.num_media).to_string(),
            to: sent.map(|sent| sent.to.as_str()),
            date_created: rfc_2822(self.created_at),
            status,
            sid: self.message_sid.as_str(),
            date_sent: arrived.then(|| rfc_2822(self.created_at)),
            messaging_service_sid: service,
            error_code: None,
            price_unit: "USD",
            api_version: "2010-04-01",
            subresource_uris: SubresourceUris {
                media: format!("{path}/Media.json"),
                feedback: (stage == Stage::Later).then(|| format!("{path}/Feedback.json")),
            },
        }
    }
}

/// Source: recorded answers of 2023, whose key order it keeps.
#[derive(Debug, Serialize)]
pub(super) struct MessageResource<'a> {
    body: Option<&'a str>,
    num_segments: String,
    direction: &'static str,
    from: Option<&'a str>,
    date_updated: String,
    price: Option<&'static str>,
    error_message: Option<&'static str>,
    uri: String,
    account_sid: &'a str,
    num_media: String,
    to: Option<&'a str>,
    date_created: String,
    status: &'static str,
    sid: &'a str,
    date_sent: Option<String>,
    messaging_service_sid: Option<&'a str>,
    error_code: Option<u32>,
    price_unit: &'static str,
    api_version: &'static str,
    subresource_uris: SubresourceUris,
}

#[derive(Debug, Serialize)]
struct SubresourceUris {
    media: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback: Option<String>,
}
