//! The simulated Twilio's own clock. It need not agree with Postgres, as Twilio's does not.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "Twilio's side has a clock of its own")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// As the 2010-04-01 API writes dates: `Thu, 30 Jul 2015 20:00:00 +0000`. One SDK parses exactly this form.
pub(super) fn rfc_2822(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_two_digits_for_the_day_and_a_numeric_zone() {
        let time = "2015-07-03T20:00:00Z".parse().unwrap();
        assert_eq!(rfc_2822(time), "Fri, 03 Jul 2015 20:00:00 +0000");
    }
}
