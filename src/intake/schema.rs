//! How the words of the domain look in the OpenAPI document: the same rules as their parsers, said for machines.

use std::borrow::Cow;

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Type,
        schema::{ObjectBuilder, Schema},
    },
};

use crate::domain::{
    AccountSid, ActionId, DeadReason, EventId, EventState, FeedbackState, Label, LetterReason, MessageSid,
};

macro_rules! schema {
    ($($name:ident => $schema:expr;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.build().into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

schema! {
    ActionId => id("The caller's own opaque id of what the user was asked to do.", "login-7f3a");
    EventId => id("An event's idempotency key.", "3f1c9e0a-70f4-4f7c-9a53-0e8e8b3e9f21");
    MessageSid => sid("A message.", "^(SM|MM)[0-9a-fA-F]{32}$", "SM0123456789abcdef0123456789abcdef");
    AccountSid => sid("An account.", "^AC[0-9a-fA-F]{32}$", "AC0123456789abcdef0123456789abcdef");
    Label => text("No phone number, no e-mail address, no control characters.")
        .min_length(Some(1))
        .max_length(Some(64))
        .pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]+$"))
        .examples([json!("login-otp")]);
    EventState => words(
        "What has become of an event. `parked`: its message is not known yet; `expired`: it never came; `pending`: it is \
        going to be confirmed; `confirmed`; `dead`: given up.",
        [EventState::Parked, EventState::Expired, EventState::Pending, EventState::Confirmed, EventState::Dead]
            .map(EventState::as_str),
    );
    FeedbackState => words(
        "Where a message's feedback stands. `none`: no event named the message; `pending`; `confirmed`; `dead`: given up.",
        [FeedbackState::None, FeedbackState::Pending, FeedbackState::Confirmed, FeedbackState::Dead]
            .map(FeedbackState::as_str),
    );
    LetterReason => words(
        "Why something was given up.",
        DeadReason::ALL.into_iter().map(DeadReason::as_str).chain([LetterReason::Expired.as_str()]),
    );
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn id(description: &str, example: &str) -> ObjectBuilder {
    text(&format!("{description} 1 to 200 visible ASCII characters; no phone number, no e-mail address."))
        .min_length(Some(1))
        .max_length(Some(200))
        .pattern(Some("^[!-~]+$"))
        .examples([json!(example)])
}

fn sid(description: &str, pattern: &str, example: &str) -> ObjectBuilder {
    text(description).pattern(Some(pattern)).examples([json!(example)])
}

fn words(description: &str, words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    text(description).enum_values(Some(words))
}
