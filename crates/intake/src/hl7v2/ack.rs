//! Acknowledgements (HL7 v2.8.2 section 2.9; ERR as of version 2.5).

use holdfast_base::Timestamp;

use super::{Delimiters, Message, parse};

/// Longest header field that is echoed; a longer one is left out.
const ECHO_BYTES_MAX: usize = 256;

/// MSA-1, HL7 table 0008, original mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckCode {
    /// Application accept.
    AA,
    /// Application error: the message is at fault.
    AE,
    /// Application reject: it cannot be processed, or not by us.
    AR,
}

impl AckCode {
    /// `AA`, `AE` or `AR`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AA => "AA",
            Self::AE => "AE",
            Self::AR => "AR",
        }
    }
}

/// One ERR segment. Holds no value of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// ERR-2.1: `PID`; empty when the message as a whole is meant.
    pub segment: String,
    /// ERR-2.2: which of the segments of that name, from 1.
    pub sequence: usize,
    /// ERR-2.3: field, 0 for the whole segment.
    pub field: usize,
    /// ERR-2.5: component, 0 for the whole field.
    pub component: usize,
    /// ERR-3.1, HL7 table 0357: 100 segment sequence error, 101 required field
    /// missing, 102 data type error, 103 table value not found, 200 unsupported
    /// message type, 201 event code, 202 processing id, 203 version id,
    /// 204 unknown key, 205 duplicate key, 206 record locked, 207 internal error.
    pub code: u16,
    /// ERR-4.
    pub severity: ProblemSeverity,
    /// ERR-8: for people.
    pub text: String,
}

/// ERR-4, HL7 table 0516.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemSeverity {
    /// The message was accepted; somebody may want to know.
    Information,
    /// The message was accepted with something left out.
    Warning,
    /// The message was not accepted.
    Error,
}

impl Problem {
    /// A problem with the message as a whole.
    pub fn whole(code: u16, text: impl Into<String>) -> Self {
        Self {
            segment: String::new(),
            sequence: 0,
            field: 0,
            component: 0,
            code,
            severity: ProblemSeverity::Error,
            text: text.into(),
        }
    }
}

/// The display of an HL7 table 0357 code.
fn meaning(code: u16) -> &'static str {
    match code {
        0 => "Message accepted",
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        104 => "Value too long",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        202 => "Unsupported processing id",
        203 => "Unsupported version id",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        206 => "Application record locked",
        _ => "Application internal error",
    }
}

/// The acknowledgement of `original`, which need not be readable: what of its
/// header can be found is swapped and echoed, the rest is left empty.
///
/// MSH-10 is `control_id`, MSA-2 the original's; MSH-7 is `at` in UTC. Problems
/// become ERR segments.
pub fn acknowledge(
    original: &[u8],
    code: AckCode,
    problems: &[Problem],
    control_id: &str,
    at: Timestamp,
) -> Vec<u8> {
    let parsed = parse(original).ok();
    let header = Header::of(parsed.as_ref());
    let mut ack = Writer { out: Vec::with_capacity(256), delimiters: header.delimiters.clone() };

    ack.out.extend_from_slice(b"MSH");
    ack.separator();
    let encoding = header.delimiters.encoding_characters();
    ack.out.extend_from_slice(&encoding);
    for number in [5, 6, 3, 4] {
        ack.raw_field(&header.field(number));
    }
    ack.raw_field(stamp(at).as_bytes());
    ack.raw_field(b"");
    ack.separator();
    ack.out.extend_from_slice(b"ACK");
    if let Some(trigger) = header.trigger() {
        let component = ack.delimiters.component;
        ack.out.push(component);
        ack.out.extend_from_slice(trigger.as_bytes());
        ack.out.push(component);
        ack.out.extend_from_slice(b"ACK");
    }
    ack.text_field(control_id);
    ack.raw_field(&header.or(11, b"P"));
    ack.raw_field(&header.or(12, b"2.5.1"));
    ack.end();

    ack.out.extend_from_slice(b"MSA");
    ack.raw_field(code.as_str().as_bytes());
    ack.raw_field(&header.field(10));
    ack.end();

    for problem in problems {
        ack.error(problem);
    }
    ack.out
}

/// The original's header, as far as it can be found.
struct Header<'m> {
    message: Option<&'m Message<'m>>,
    delimiters: Delimiters,
}

impl<'m> Header<'m> {
    fn of(message: Option<&'m Message<'m>>) -> Self {
        let delimiters = message.map(|message| message.delimiters().clone());
        let usable = delimiters.filter(|found| found.component != 0);
        match usable {
            Some(delimiters) => Self { message, delimiters },
            None => Self { message: None, delimiters: Delimiters::STANDARD },
        }
    }

    /// The raw bytes of a field: same delimiters, so nothing is to be escaped.
    fn field(&self, number: usize) -> Vec<u8> {
        let raw = self.message.map(|message| message.header(number).raw()).unwrap_or_default();
        let plain = raw.len() <= ECHO_BYTES_MAX && !raw.iter().any(u8::is_ascii_control);
        if plain { raw.to_vec() } else { Vec::new() }
    }

    fn or(&self, number: usize, default: &[u8]) -> Vec<u8> {
        let field = self.field(number);
        if field.trim_ascii().is_empty() { default.to_vec() } else { field }
    }

    fn trigger(&self) -> Option<String> {
        let trigger = self.message?.trigger()?;
        let plain = trigger.len() <= 8 && trigger.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then_some(trigger)
    }
}

fn stamp(at: Timestamp) -> String {
    // 2015-05-26T00:00:00.007Z -> 20150526000000.007+0000
    let text = at.to_string();
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    format!("{digits}+0000")
}

struct Writer {
    out: Vec<u8>,
    delimiters: Delimiters,
}

impl Writer {
    fn separator(&mut self) {
        self.out.push(self.delimiters.field);
    }

    fn end(&mut self) {
        self.out.push(b'\r');
    }

    fn raw_field(&mut self, raw: &[u8]) {
        self.separator();
        self.out.extend_from_slice(raw);
    }

    fn text_field(&mut self, text: &str) {
        self.separator();
        self.text(text);
    }

    /// Text with delimiters escaped and control characters as spaces.
    fn text(&mut self, text: &str) {
        let escape = self.delimiters.escape;
        for byte in text.bytes() {
            let name = match byte {
                b if b == self.delimiters.field => b'F',
                b if b == self.delimiters.component => b'S',
                b if b == self.delimiters.repetition => b'R',
                b if Some(b) == self.delimiters.subcomponent => b'T',
                b if Some(b) == escape => b'E',
                b if b.is_ascii_control() => {
                    self.out.push(b' ');
                    continue;
                }
                b => {
                    self.out.push(b);
                    continue;
                }
            };
            match escape {
                Some(escape) => self.out.extend_from_slice(&[escape, name, escape]),
                None => self.out.push(b' '),
            }
        }
    }

    fn error(&mut self, problem: &Problem) {
        let component = self.delimiters.component;
        self.out.extend_from_slice(b"ERR");
        self.separator();
        // ERR-2: location, as far as it goes.
        self.separator();
        if !problem.segment.is_empty() {
            self.text(&problem.segment);
            self.out.push(component);
            self.text(&problem.sequence.max(1).to_string());
            if problem.field > 0 {
                self.out.push(component);
                self.text(&problem.field.to_string());
            }
            if problem.field > 0 && problem.component > 0 {
                self.out.extend_from_slice(&[component, b'1', component]);
                self.text(&problem.component.to_string());
            }
        }
        // ERR-3: HL7 error code.
        self.separator();
        self.text(&problem.code.to_string());
        self.out.push(component);
        self.text(meaning(problem.code));
        self.out.push(component);
        self.text("HL70357");
        self.text_field(match problem.severity {
            ProblemSeverity::Information => "I",
            ProblemSeverity::Warning => "W",
            ProblemSeverity::Error => "E",
        });
        // ERR-5 to ERR-7 are not used.
        for _ in 5..8 {
            self.separator();
        }
        self.text_field(&problem.text);
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(original: &str, code: AckCode, problems: &[Problem]) -> String {
        let at = Timestamp::from_millis(1_432_598_400_007);
        let ack = acknowledge(original.as_bytes(), code, problems, "H-1", at);
        String::from_utf8(ack).expect("ASCII")
    }

    #[test]
    fn sender_and_receiver_are_swapped_and_the_control_id_is_echoed() {
        let original = "MSH|^~\\&|LAB^1.2^ISO|ACME|HF|IN|20150526||ORU^R01^ORU_R01|c\\T\\7|T|2.5\r";
        assert_eq!(
            text(original, AckCode::AA, &[]),
            "MSH|^~\\&|HF|IN|LAB^1.2^ISO|ACME|20150526000000.007+0000||ACK^R01^ACK|H-1|T|2.5\r\
             MSA|AA|c\\T\\7\r"
        );
    }

    #[test]
    fn a_problem_becomes_an_err_segment_in_the_form_of_version_2_5() {
        let problem = Problem {
            segment: "PID".into(),
            sequence: 1,
            field: 3,
            component: 1,
            ..Problem::whole(101, "no patient identifier | none")
        };
        let ack = text("MSH|^~\\&|a|b|c|d|||ADT^A01|9|P|2.5\r", AckCode::AE, &[problem]);
        let err = "ERR||PID^1^3^1^1|101^Required field missing^HL70357|E||||no patient identifier \\F\\ none\r";
        assert!(ack.ends_with(err), "{ack}");
    }

    #[test]
    fn what_cannot_be_read_is_acknowledged_all_the_same() {
        for junk in ["", "PID|1", "MSH", "MSHA", "MSH|aaaaaaa|", "\u{0}\u{1}"] {
            let ack = text(junk, AckCode::AR, &[Problem::whole(100, "no MSH")]);
            assert!(
                ack.starts_with(
                    "MSH|^~\\&|||||20150526000000.007+0000||ACK|H-1|P|2.5.1\rMSA|AR|\r"
                ),
                "{ack}"
            );
            assert!(parse(ack.as_bytes()).is_ok());
        }
    }

    #[test]
    fn the_answer_speaks_the_delimiters_of_the_question() {
        let ack = text("MSH#!@%*#S#F#R#F#2026##ADT!A01#M7#P#2.5\r", AckCode::AA, &[]);
        assert!(ack.starts_with("MSH#!@%*#R#F#S#F#"), "{ack}");
        assert!(ack.contains("#ACK!A01!ACK#H-1#P#2.5\rMSA#AA#M7\r"), "{ack}");
    }
}
