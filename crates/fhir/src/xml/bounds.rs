//! What could exhaust a parser, found on the text before anything is built.

/// Elements within elements: resources in bundles with narratives stay below 40.
const DEPTH_MAX: usize = 200;
/// Attributes of one element: the parser compares each with the others.
const ATTRIBUTES_MAX: usize = 64;
/// Prefixes that a document declares: the parser looks each name up among them.
const PREFIXES_MAX: usize = 32;

/// Walks over the markup.
///
/// # Errors
/// What is not taken, as a sentence.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let (mut depth, mut prefixes) = (0_usize, 0_usize);
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let after = |end: &str| rest.find(end).map(|at| at + end.len());
        // What does not end is for the parser to refuse.
        let length = if rest.starts_with("<!--") {
            after("-->")
        } else if rest.starts_with("<![CDATA[") {
            after("]]>")
        } else if rest.starts_with("<?") {
            after("?>")
        } else if rest.starts_with("<!") {
            return Err("a document type definition is not allowed");
        } else {
            let length = tag(rest)?;
            let tag = &rest[..length];
            if tag.starts_with("</") {
                depth = depth.saturating_sub(1);
            } else {
                prefixes += tag.matches("xmlns:").count();
                depth += usize::from(!tag.ends_with("/>"));
            }
            Some(length)
        };
        if depth > DEPTH_MAX {
            return Err("nested too deeply");
        }
        if prefixes > PREFIXES_MAX {
            return Err("too many namespaces are declared");
        }
        let Some(length) = length else { return Ok(()) };
        rest = &rest[length..];
    }
    Ok(())
}

/// Length of the tag that starts `text`, with its `>`.
fn tag(text: &str) -> Result<usize, &'static str> {
    let mut quote = None;
    let mut attributes = 0;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Ok(at + 1),
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                attributes += 1;
                if attributes > ATTRIBUTES_MAX {
                    return Err("too many attributes");
                }
            }
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    Ok(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_exhaust_us_is_found_on_the_text() {
        for (text, fine) in [
            ("<a>".repeat(DEPTH_MAX), true),
            ("<a>".repeat(DEPTH_MAX + 1), false),
            ("<a/>".repeat(DEPTH_MAX * 2), true),
            ("<a></a>".repeat(DEPTH_MAX * 2), true),
            (format!("<a {}/>", "b='>' ".repeat(ATTRIBUTES_MAX)), true),
            (format!("<a {}/>", "b='>' ".repeat(ATTRIBUTES_MAX + 1)), false),
            ("<a xmlns:b='c'/>".repeat(PREFIXES_MAX + 1), false),
            ("<!DOCTYPE a [<!ENTITY b 'x'>]><a>&b;</a>".to_owned(), false),
            ("<a><!-- <!DOCTYPE --><![CDATA[<!DOCTYPE]]><?x <!DOCTYPE ?></a>".to_owned(), true),
            ("<a><!-- ".to_owned(), true),
            ("<a b='".to_owned(), true),
        ] {
            assert_eq!(check(&text).is_ok(), fine, "{}", &text[..text.len().min(60)]);
        }
    }
}
