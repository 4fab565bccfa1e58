//! Where a request stands in a caller's trace: W3C's `traceparent`.

use super::Malformed;

/// Invariant: `00-`, a trace id of 32 hex digits, `-`, a span id of 16, `-`, 2 of flags; no id all zeros.
/// Source: <https://www.w3.org/TR/trace-context/#traceparent-header>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(String);

const LENGTH: usize = 55;

impl TryFrom<&str> for TraceContext {
    type Error = Malformed;

    /// A later version is read as far as this one goes.
    fn try_from(text: &str) -> Result<Self, Malformed> {
        const FAULT: Malformed = Malformed("must be a traceparent as W3C's Trace Context has it");
        let known = text.get(..LENGTH).ok_or(FAULT)?;
        let more = &text[LENGTH..];
        let parts: Vec<&str> = known.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { return Err(FAULT) };
        let lengths = [version, trace, span, flags].map(str::len) == [2, 32, 16, 2];
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let ends = more.is_empty() || (version != "00" && more.starts_with('-'));
        let named = [trace, span].iter().all(|id| id.bytes().any(|b| b != b'0'));
        if lengths && parts.iter().all(|part| hex(part)) && version != "ff" && ends && named {
            Ok(Self(format!("00-{trace}-{span}-{flags}")))
        } else {
            Err(FAULT)
        }
    }
}

impl TryFrom<String> for TraceContext {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::try_from(text.as_str())
    }
}

impl TraceContext {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What all spans of one trace share.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The span that what comes now is a part of.
    pub fn span_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Whether whoever began the trace records it.
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.0[53..], 16).is_ok_and(|flags| flags & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_w3c_has_it() {
        let trace = TraceContext::try_from(EXAMPLE).unwrap();
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.span_id(), "00f067aa0ba902b7");
        assert!(trace.is_sampled());
        assert!(!TraceContext::try_from(EXAMPLE.replace("-01", "-02").as_str()).unwrap().is_sampled());
        let later = format!("cc{}-what-comes-later", &EXAMPLE[2..]);
        assert_eq!(TraceContext::try_from(later.as_str()).unwrap(), trace);
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in [
            "",
            "00",
            &EXAMPLE[..54],
            &format!("{EXAMPLE}-more"),
            &format!("{EXAMPLE}0"),
            &format!("ff{}", &EXAMPLE[2..]),
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replace('-', "_"),
            &EXAMPLE.replace("4bf9", "4bg9"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "ä0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert!(TraceContext::try_from(wrong).is_err(), "{wrong}");
        }
    }
}
