//! A time as callers write it: RFC 3339, with its offset.

use chrono::{DateTime, Datelike, Utc};

use crate::domain::Malformed;

/// Invariant: of the years 2000 to 9999, in UTC. Older ones are mistakes of unit, and Postgres prints later ones
/// in a way that RFC 3339 does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

impl TryFrom<String> for Moment {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let moment = DateTime::parse_from_rfc3339(&text)
            .map_err(|_| Malformed("must be a time with its offset, as in 2026-11-23T10:00:00Z (RFC 3339)"))?
            .to_utc();
        match moment.year() {
            2000..=9999 => Ok(Self(moment)),
            _ => Err(Malformed("must be of the years 2000 to 9999")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<String> {
        Moment::try_from(text.to_owned()).ok().map(|Moment(moment)| moment.to_rfc3339())
    }

    #[test]
    fn a_moment_needs_its_offset() {
        assert_eq!(parse("2026-11-23T10:00:42Z").as_deref(), Some("2026-11-23T10:00:42+00:00"));
        assert_eq!(parse("2026-11-23T10:00:42.5+05:45").as_deref(), Some("2026-11-23T04:15:42.500+00:00"));
        for wrong in ["", "2026-11-23", "2026-11-23T10:00:42", "10:00:42Z", "1795428042", "2026-02-30T00:00:00Z", "now"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_this_millennium_and_the_rest_of_the_four_digit_years_are_taken() {
        assert!(parse("2000-01-01T00:00:00Z").is_some());
        assert!(parse("9999-12-31T23:59:59Z").is_some());
        for wrong in ["1999-12-31T23:59:59Z", "2000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
