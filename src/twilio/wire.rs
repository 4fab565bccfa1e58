//! What Twilio's answers look like on the wire.

use serde::{Deserialize, Serialize};

/// The answer to a created Feedback.
///
/// Every member is optional: Twilio marks none as required, and an answer that lacks one is still an answer.
///
/// Source: <https://www.twilio.com/docs/messaging/api/message-feedback-resource>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedbackResource {
    pub account_sid: Option<String>,
    /// RFC 2822, GMT: `Thu, 30 Jul 2015 20:00:00 +0000`.
    pub date_created: Option<String>,
    pub date_updated: Option<String>,
    pub message_sid: Option<String>,
    /// `confirmed` or `unconfirmed`.
    pub outcome: Option<String>,
    /// Never compared: Twilio's own samples carry another path than the one that was asked.
    pub uri: Option<String>,
}
