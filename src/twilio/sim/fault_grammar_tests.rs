//! What the fault grammar takes, and how it refuses the rest.

use super::*;

fn rule(text: &str) -> FaultRule {
    text.parse().unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<FaultRule>().unwrap_err().to_string()
}

#[test]
fn a_status_comes_as_twilio_usually_answers_it() {
    for (status, code, body) in [
        (401, 20003, FaultBody::Json),
        (403, 20008, FaultBody::Json),
        (429, 20429, FaultBody::Json),
        (500, 20500, FaultBody::Json),
        (502, 20502, FaultBody::Html),
        (204, 20204, FaultBody::Empty),
    ] {
        let usual = StatusFault { status, code, body, retry_after: None, location: None };
        assert_eq!(rule(&status.to_string()), FaultRule::always(Fault::Status(usual)));
    }
}

#[test]
fn keys_choose_the_requests_and_the_answer() {
    let throttle = rule("429; retry_after=Fri, 31 Dec 2027 23:59:59 GMT; first=10; per=message");
    assert_eq!(throttle.turns, Turns::First(10));
    assert_eq!(throttle.counting, Counting::ByMessage);
    let retry_after = Some("Fri, 31 Dec 2027 23:59:59 GMT".to_owned());
    assert_eq!(throttle.fault, Fault::Status(StatusFault { retry_after, ..StatusFault::usual(429) }));

    let elsewhere = rule("302;location=http://127.0.0.1:1/login?a=b");
    let location = Some("http://127.0.0.1:1/login?a=b".to_owned());
    assert_eq!(elsewhere.fault, Fault::Status(StatusFault { location, ..StatusFault::usual(302) }));
}

#[test]
fn only_a_fault_that_keeps_twilios_answer_is_applied_by_itself() {
    for text in ["delay;time=1s", "drip;pause=1ms", "cut", "close"] {
        assert!(rule(text).applied, "{text}");
        assert!(refusal(&format!("{text};applied=no")).starts_with("`applied` is not a key"), "{text}");
    }
    for text in ["429", "other_message", "unconfirmed", "hang", "reset"] {
        assert!(!rule(text).applied, "{text}");
        assert!(rule(&format!("{text};applied=yes")).applied, "{text}");
    }
}

#[test]
fn a_rule_prints_as_it_was_written() {
    for text in [
        "429;retry_after=soon;first=10",
        "200;body=html;nth=3",
        "500;code=1;body=problem;every=2;applied=yes",
        "307;location=https://example.org/",
        "other_message",
        "unconfirmed;account=AC0123456789abcdef0123456789abcdef",
        "young;age=1s 500ms;per=message",
        "delay;time=30s",
        "drip;pause=100ms",
        "cut;message=MM0123456789abcdef0123456789abcdef",
        "close",
        "hang;applied=yes",
        "reset",
    ] {
        assert_eq!(rule(text).to_string(), text);
    }
}

#[test]
fn a_refusal_names_what_is_wrong() {
    for (text, reason) in [
        ("", "`` is no fault"),
        ("199", "`199` is no fault"),
        ("600", "`600` is no fault"),
        ("throttle", "`throttle` is no fault"),
        ("503;first", "`first` is not of the form KEY=VALUE"),
        ("503;", "`` is not of the form KEY=VALUE"),
        ("503;first=0", "`first=0`: `first` must be a number from 1"),
        ("503;first=1;nth=2", "only one of `first`, `nth` and `every`"),
        ("503;first=1;first=2", "`first` is given twice"),
        ("503;body=xml", "`body=xml`: `body` must be json, problem, html or empty"),
        ("429;retry_after=a\nb", "`retry_after` must be printable"),
        ("hang;retry_after=3", "`retry_after` is not a key of `hang`"),
        ("delay", "`delay` needs `time`"),
        ("delay;time=0s", "`time` must be a time"),
        ("young;age=1h;applied=yes", "`applied` is not a key of `young`"),
        ("reset;message=SM1", "`message` must be SM or MM and 32 hex digits"),
        ("reset;account=SM0123456789abcdef0123456789abcdef", "`account` must be AC and 32 hex digits"),
        ("reset;per=account", "`per` must be message"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(reason), "{text}: {refusal}");
    }
}
