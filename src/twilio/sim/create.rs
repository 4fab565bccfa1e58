//! What a request to create a Message must be, and the code that Twilio refuses it with otherwise.
//!
//! Sources: <https://www.twilio.com/docs/messaging/api/message-resource>, <https://www.twilio.com/docs/api/errors>,
//! and for the magic numbers <https://www.twilio.com/docs/iam/test-credentials>

use chrono::{DateTime, TimeDelta, Utc};

use super::request::Form;

/// Longest body, in characters.
const LONGEST_BODY: usize = 1600;
/// Most media of one message.
const MOST_MEDIA: usize = 10;
/// How soon and how late a message may be scheduled.
const SCHEDULE: std::ops::RangeInclusive<TimeDelta> = TimeDelta::seconds(300)..=TimeDelta::days(35);

/// A message that Twilio would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Creation {
    pub(super) to: String,
    pub(super) from: Option<String>,
    pub(super) messaging_service_sid: Option<String>,
    pub(super) body: String,
    pub(super) num_media: usize,
    pub(super) scheduled: bool,
    pub(super) provide_feedback: bool,
}

/// Why Twilio would not take it: always a 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) message: String,
}

fn refuse<T>(code: u32, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

pub(super) fn read(form: &Form, now: DateTime<Utc>) -> Result<Creation, Refusal> {
    let to = recipient(form)?;
    let (from, messaging_service_sid) = sender(form)?;
    let (body, num_media) = content(form)?;
    callback(form)?;
    let scheduled = schedule(form, messaging_service_sid.is_some(), now)?;
    let provide_feedback = form.get("ProvideFeedback").is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    Ok(Creation { to, from, messaging_service_sid, body, num_media, scheduled, provide_feedback })
}

fn recipient(form: &Form) -> Result<String, Refusal> {
    let Some(to) = form.filled("To") else {
        return refuse(21604, "A 'To' phone number is required.");
    };
    match to {
        "+15005550002" => refuse(21612, format!("The 'To' phone number: {to}, is not currently reachable via SMS.")),
        "+15005550003" => refuse(
            21408,
            format!(
                "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {to}."
            ),
        ),
        "+15005550004" => refuse(21610, "Attempt to send to unsubscribed recipient"),
        "+15005550009" => refuse(21614, format!("To number: {to}, is not a mobile number")),
        _ if to == "+15005550001" || !is_address(to) => {
            refuse(21211, format!("The 'To' number {to} is not a valid phone number."))
        }
        _ => Ok(to.to_owned()),
    }
}

/// The number it is sent from, and the service that chooses one; at least one of them.
fn sender(form: &Form) -> Result<(Option<String>, Option<String>), Refusal> {
    let from = form.filled("From");
    let named = form.filled("MessagingServiceSid");
    // Twilio takes a service in the place of a number, too.
    let (from, service) = match (from, named) {
        (Some(from), None) if from.starts_with("MG") && is_service(from) => (None, Some(from)),
        other => other,
    };
    match (from, service) {
        (None, None) => refuse(21603, "A 'From' phone number is required."),
        (_, Some(service)) if !is_service(service) => {
            refuse(21701, format!("The Messaging Service {service} does not exist"))
        }
        (Some("+15005550007"), _) => refuse(
            21606,
            "The From phone number +15005550007 is not a valid, SMS-capable inbound phone number or short code for \
             your account.",
        ),
        (Some("+15005550008"), _) => {
            refuse(21611, "This 'From' number has exceeded the maximum number of queued messages")
        }
        (Some(from), _) if from == "+15005550001" || !is_sender(from) => refuse(
            21212,
            format!("The 'From' number {from} is not a valid phone number, shortcode, or alphanumeric sender ID."),
        ),
        (from, service) => Ok((from.map(str::to_owned), service.map(str::to_owned))),
    }
}

fn content(form: &Form) -> Result<(String, usize), Refusal> {
    let body = form.get("Body").unwrap_or_default();
    let num_media = form.count("MediaUrl");
    match () {
        () if MOST_MEDIA < num_media => refuse(21623, "Number of media files exceeds allowed limit"),
        () if LONGEST_BODY < body.chars().count() => {
            refuse(21617, format!("The concatenated message body exceeds the {LONGEST_BODY} character limit."))
        }
        () if body.is_empty() && num_media == 0 && form.filled("ContentSid").is_none() => {
            refuse(21602, "Message body is required.")
        }
        () => Ok((body.to_owned(), num_media)),
    }
}

fn callback(form: &Form) -> Result<(), Refusal> {
    let is_url = |url: &str| {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains(|c: char| c == '_' || c.is_whitespace())
    };
    match form.filled("StatusCallback") {
        Some(url) if !is_url(url) => refuse(21609, format!("The 'StatusCallback' URL {url} is not a valid URL.")),
        _ => Ok(()),
    }
}

fn schedule(form: &Form, by_service: bool, now: DateTime<Utc>) -> Result<bool, Refusal> {
    match (form.filled("ScheduleType"), form.filled("SendAt")) {
        (None, _) => Ok(false),
        (Some("fixed"), _) if !by_service => refuse(35118, "MessagingServiceSid is required to schedule a message"),
        (Some("fixed"), None) => refuse(35111, "SendAt timestamp is missing"),
        (Some("fixed"), Some(time)) => match DateTime::parse_from_rfc3339(time) {
            Ok(time) if SCHEDULE.contains(&(time.to_utc() - now)) => Ok(true),
            _ => refuse(35115, "Scheduling does not support this timestamp"),
        },
        (Some(_), _) => refuse(35126, "The ScheduleType value provided is not supported for this channel"),
    }
}

/// E.164, with a channel before it where it is not an SMS.
fn is_address(text: &str) -> bool {
    let number = ["whatsapp:", "rcs:"].iter().find_map(|channel| text.strip_prefix(channel)).unwrap_or(text);
    let digits = number.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
}

/// A number, a short code, or an alphanumeric id of up to 11 characters with a letter among them.
fn is_sender(text: &str) -> bool {
    let short_code = (3..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" +-_&".contains(&b);
    let name = text.len() <= 11 && text.bytes().all(plain) && text.bytes().any(|b| b.is_ascii_alphabetic());
    is_address(text) || short_code || name
}

fn is_service(text: &str) -> bool {
    text.strip_prefix("MG").is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";

    fn create(parameters: &[(&str, &str)]) -> Result<Creation, u32> {
        let owned = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        read(&Form(owned.collect()), now).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_text_with_recipient_sender_and_body_is_taken() {
        let otp = [("To", "+15558675310"), ("From", "+15557122661"), ("Body", "123 456"), ("ProvideFeedback", "true")];
        let creation = create(&otp).unwrap();
        assert!(creation.provide_feedback && !creation.scheduled);
        assert_eq!(creation.from.as_deref(), Some("+15557122661"));
        assert!(!create(&otp[..3]).unwrap().provide_feedback, "feedback is asked for, never assumed");
    }

    #[test]
    fn a_service_may_stand_in_for_the_sender() {
        for key in ["MessagingServiceSid", "From"] {
            let creation = create(&[("To", "+15558675310"), (key, SERVICE), ("Body", "hello")]).unwrap();
            assert_eq!((creation.from, creation.messaging_service_sid), (None, Some(SERVICE.to_owned())), "{key}");
        }
    }

    #[test]
    fn each_mistake_has_its_code() {
        let good = [("To", "+15558675310"), ("From", "+15557122661"), ("Body", "hello")];
        let long = "x".repeat(LONGEST_BODY + 1);
        for (key, value, code) in [
            ("To", "", 21604),
            ("To", "12345", 21211),
            ("To", "+15005550001", 21211),
            ("To", "+15005550002", 21612),
            ("To", "+15005550003", 21408),
            ("To", "+15005550004", 21610),
            ("To", "+15005550009", 21614),
            ("From", "", 21603),
            ("From", "+15005550001", 21212),
            ("From", "+15005550007", 21606),
            ("From", "+15005550008", 21611),
            ("From", "a sender with a long name", 21212),
            ("MessagingServiceSid", "MG1", 21701),
            ("Body", "", 21602),
            ("Body", &long, 21617),
            ("StatusCallback", "/status", 21609),
            ("StatusCallback", "https://my_host/status", 21609),
            ("ScheduleType", "fixed", 35118),
            ("ScheduleType", "fluid", 35126),
        ] {
            let kept = good.into_iter().filter(|(other, _)| *other != key);
            let parameters: Vec<_> = kept.chain([(key, value)]).collect();
            assert_eq!(create(&parameters), Err(code), "{key}");
        }
        let media = [good[0], good[1]].into_iter().chain([("MediaUrl", "https://example.org/a.png"); MOST_MEDIA + 1]);
        assert_eq!(create(&media.collect::<Vec<_>>()), Err(21623));
    }

    #[test]
    fn a_message_is_scheduled_between_five_minutes_and_35_days_ahead() {
        let at = |time| {
            let schedule = [("ScheduleType", "fixed"), ("SendAt", time)];
            let message = [("To", "+15558675310"), ("MessagingServiceSid", SERVICE), ("Body", "hello")];
            create(&[message.as_slice(), &schedule].concat()).map(|creation| creation.scheduled)
        };
        assert_eq!(at("2026-11-23T10:05:00Z"), Ok(true));
        assert_eq!(at("2026-11-23T10:04:59Z"), Err(35115));
        assert_eq!(at("2027-01-23T10:00:00Z"), Err(35115));
        assert_eq!(at("tomorrow"), Err(35115));
        assert_eq!(at(""), Err(35111));
    }
}
