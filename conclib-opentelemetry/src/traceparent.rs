//! The header `traceparent` of the W3C trace context: `00-<trace id>-<span id>-<flags>`.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The length of version 00, which later versions begin with.
const LEN: usize = 55;

/// The text of a context.
pub(crate) fn format(context: &SpanContext) -> String {
    let mut text = Vec::with_capacity(LEN);
    text.extend(b"00-");
    write(&context.trace_id().to_bytes(), &mut text);
    text.push(b'-');
    write(&context.span_id().to_bytes(), &mut text);
    text.push(b'-');
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    write(&[flags.to_u8()], &mut text);
    String::from_utf8(text).unwrap_or_default() // all of it is ASCII
}

/// Reads a context, with this state; `None` if the text is none, as a peer may send any.
pub(crate) fn parse(text: &str, state: TraceState) -> Option<SpanContext> {
    let (known, rest) = text.as_bytes().split_at_checked(LEN)?;
    let is_separated = [2, 35, 52].iter().all(|place| known[*place] == b'-');
    let [[version], [flags]] = [bytes(&known[..2])?, bytes(&known[53..])?];
    let is_end_right = match version {
        0 => rest.is_empty(),
        0xff => false, // it is no version
        _ => rest.first().is_none_or(|next| *next == b'-'),
    };
    if !(is_separated && is_end_right) {
        return None;
    }
    let trace = TraceId::from_bytes(bytes(&known[3..35])?);
    let span = SpanId::from_bytes(bytes(&known[36..52])?);
    let sampled = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, sampled, true, state);
    context.is_valid().then_some(context)
}

/// The hexadecimal digits: a context is written and read for each message.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of each byte as a digit, which is lower case; [`NO_DIGIT`] for others.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xff;

/// Appends bytes as hexadecimal digits.
fn write(bytes: &[u8], text: &mut Vec<u8>) {
    for byte in bytes {
        let [high, low] = [byte >> 4, byte & 15];
        text.extend([high, low].map(|digit| DIGITS[usize::from(digit)]));
    }
}

/// The bytes of hexadecimal digits.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut all = 0; // above 15 if one is no digit
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| VALUES[usize::from(digit)]);
        all |= high | low;
        *byte = high << 4 | low & 15;
    }
    (all < 16).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(text: &str) -> Option<SpanContext> {
        parse(text, TraceState::default())
    }

    #[test]
    fn context_is_read_as_it_was_written() {
        let context = read(EXAMPLE).unwrap();
        assert_eq!(
            context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(format(&context), EXAMPLE);
        let unsampled = EXAMPLE.replace("-01", "-00");
        assert!(!read(&unsampled).unwrap().is_sampled());
        assert_eq!(format(&read(&unsampled).unwrap()), unsampled);
    }

    #[test]
    fn unknown_flags_are_cleared_and_later_versions_may_be_longer() {
        let all_flags = EXAMPLE.replace("-01", "-ff");
        assert_eq!(format(&read(&all_flags).unwrap()), EXAMPLE);
        let later = EXAMPLE.replacen("00", "cc", 1);
        assert_eq!(format(&read(&later).unwrap()), EXAMPLE);
        assert_eq!(
            format(&read(&format!("{later}-what-the-future-has")).unwrap()),
            EXAMPLE
        );
    }

    #[test]
    fn other_texts_are_no_context() {
        let zero_trace = EXAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_span = EXAMPLE.replace("b7ad6b7169203331", &"0".repeat(16));
        let wide = EXAMPLE.replace("b7ad", "ü7ü"); // of the same length in bytes
        assert_eq!(wide.len(), LEN + 1);
        let wrong = [
            "",
            "00",
            &EXAMPLE[1..],
            &EXAMPLE[..LEN - 1],
            &format!("{EXAMPLE}-"),
            &format!("{EXAMPLE}0"),
            &EXAMPLE.replacen("00", "cc", 1).replace("-01", "-010"),
            &EXAMPLE.replacen("00", "ff", 1),
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replace('-', "_"),
            &EXAMPLE.replace("0af7", "+af7"),
            &zero_trace,
            &zero_span,
            &wide,
            &"ü".repeat(LEN),
        ];
        for text in wrong {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
