//! Dictated reports and other documents as text to read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::chart::Item;
use super::moment::{Moment, moment_of};
use super::text::{concept, first_concept, joined, list, named, text, words};

/// Longest text of one document that is shown, in bytes: some hundred pages.
const TEXT_BYTES_MAX: usize = 400_000;
/// Longest line that is taken for a heading, in characters.
const HEADING_CHARS_MAX: usize = 48;

/// One document.
pub(crate) struct Report {
    /// What it is.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// Who signed it, when that is somebody else.
    pub signed_by: String,
    /// Status as words: `Final`, `Preliminary`, `Amended`.
    pub state: String,
    /// Whether its author stands by it: neither preliminary nor replaced.
    pub settled: bool,
    /// When it was written.
    pub at: Option<Moment>,
    /// What it says.
    pub content: Vec<Content>,
    /// Records that have it.
    pub sources: Vec<usize>,
}

/// One piece of a document.
pub(crate) enum Content {
    /// Text.
    Text(Vec<Block>),
    /// What a page cannot show, told in a sentence.
    Other(String),
}

/// One piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// A heading that was dictated as one: `IMPRESSION:`.
    Heading(String),
    /// Running text; its lines are as they were sent.
    Text(String),
    /// Text that is laid out in columns.
    Columns(String),
}

/// The documents of `items`, newest first.
pub(crate) fn reports(items: &[Item<'_>]) -> Vec<Report> {
    let mut reports: Vec<Report> = items.iter().filter_map(report).collect();
    reports.sort_by(|a, b| b.at.cmp(&a.at));
    reports
}

fn report(item: &Item<'_>) -> Option<Report> {
    let resource = item.resource;
    let (content, names): (Vec<Content>, [&str; 2]) = match text(resource, "resourceType") {
        "DocumentReference" => {
            let files = list(resource, "content").map(|content| attachment(&content["attachment"]));
            (files.collect(), ["author", ""])
        }
        "DiagnosticReport" => {
            let conclusion = text(resource, "conclusion");
            let conclusion = (!conclusion.is_empty()).then(|| Content::Text(blocks(conclusion)));
            let forms = list(resource, "presentedForm").map(attachment);
            let content: Vec<Content> = conclusion.into_iter().chain(forms).collect();
            if content.is_empty() {
                return None;
            }
            (content, ["resultsInterpreter", "performer"])
        }
        "Composition" => (sections(resource), ["author", ""]),
        _ => return None,
    };
    let kind = [&resource["type"], &resource["code"]].map(concept);
    let own = [text(resource, "title"), text(resource, "description")].map(str::to_owned);
    let category = first_concept(resource, "category");
    let mut content = content;
    let title = kind.into_iter().chain(own).chain([category]).find(|title| !title.is_empty());
    let people = |name: &str| joined(list(resource, name).map(|by| named(by).to_owned()), ", ");
    let author = names.map(people).into_iter().find(|by| !by.is_empty()).unwrap_or_default();
    let signer = named(&resource["authenticator"]);
    let signed_by = if signer == author { "" } else { signer };
    let title = title.unwrap_or_else(|| "Document".to_owned());
    if let Some(Content::Text(text)) = content.first_mut()
        && matches!(text.first(), Some(Block::Heading(own)) if own.eq_ignore_ascii_case(&title))
    {
        text.remove(0);
    }
    let (state, settled) = state(resource);
    Some(Report {
        title,
        signed_by: signed_by.to_owned(),
        author,
        state,
        settled,
        at: moment_of(resource, &["date", "effectiveDateTime", "effectivePeriod", "issued"])
            .or_else(|| moment_of(&resource["context"], &["period"])),
        content,
        sources: vec![item.source],
    })
}

/// `status` and `docStatus` as one word.
fn state(resource: &Value) -> (String, bool) {
    match (text(resource, "status"), text(resource, "docStatus")) {
        ("superseded", _) => ("Replaced by a newer one".to_owned(), false),
        (_, "preliminary") | ("preliminary" | "partial" | "registered", _) => {
            ("Preliminary, not signed".to_owned(), false)
        }
        (_, status @ ("final" | "amended")) => (words(status), true),
        (status @ ("final" | "amended" | "corrected" | "appended"), _) => (words(status), true),
        _ => (String::new(), true),
    }
}

/// An Attachment: its text, or what it is.
fn attachment(attachment: &Value) -> Content {
    let media_type = text(attachment, "contentType");
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let data = attachment["data"].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(data).unwrap_or_default();
    if matches!(media_type, "text/plain" | "") && !bytes.is_empty() {
        return Content::Text(blocks(&String::from_utf8_lossy(&bytes)));
    }
    if media_type == "text/html" && !bytes.is_empty() {
        return Content::Text(blocks(&plain_of_html(&String::from_utf8_lossy(&bytes))));
    }
    let what = if media_type.is_empty() { "a file" } else { media_type };
    let title = text(attachment, "title");
    let title = if title.is_empty() { String::new() } else { format!(" “{title}”") };
    Content::Other(if bytes.is_empty() {
        format!("The document{title} itself was not sent; ask its source for it.")
    } else {
        let kilobytes = bytes.len().div_ceil(1024);
        format!(
            "Attached{title}: {what}, {kilobytes} kB. Open it in an application that reads FHIR."
        )
    })
}

/// The sections of a Composition, one below the other.
fn sections(resource: &Value) -> Vec<Content> {
    let section = |section: &Value| {
        let title = match text(section, "title") {
            "" => concept(&section["code"]),
            title => title.to_owned(),
        };
        let mut shown = Vec::new();
        if !title.is_empty() {
            shown.push(Block::Heading(title));
        }
        shown.extend(blocks(&plain_of_html(text(&section["text"], "div"))));
        Content::Text(shown)
    };
    list(resource, "section").map(section).collect()
}

/// A text as headings, paragraphs and columns.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let (shown, rest) = text.split_at(end);
    let mut found = Vec::new();
    let mut paragraph: Vec<&str> = Vec::new();
    let end_paragraph = |paragraph: &mut Vec<&str>, found: &mut Vec<Block>| {
        let text = paragraph.join("\n");
        let text = text.trim_end();
        if !text.trim().is_empty() {
            let in_columns = paragraph.iter().any(|line| line.trim().contains("   "));
            let text = text.to_owned();
            found.push(if in_columns { Block::Columns(text) } else { Block::Text(text) });
        }
        paragraph.clear();
    };
    for line in shown.lines() {
        if line.trim().is_empty() {
            end_paragraph(&mut paragraph, &mut found);
        } else if let Some((heading, after)) = heading(line) {
            end_paragraph(&mut paragraph, &mut found);
            found.push(Block::Heading(heading.to_owned()));
            if !after.is_empty() {
                paragraph.push(after);
            }
        } else {
            paragraph.push(line);
        }
    }
    end_paragraph(&mut paragraph, &mut found);
    if !rest.is_empty() {
        found.push(Block::Heading("The rest is too long for a page".to_owned()));
    }
    found
}

/// `IMPRESSION: text` or a line of capitals: the heading, and what follows it.
fn heading(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (head, after) =
        line.split_once(':').map_or((line, ""), |(head, after)| (head, after.trim()));
    let fits = head.chars().count() <= HEADING_CHARS_MAX
        && head.chars().filter(char::is_ascii_uppercase).count() >= 3
        && head.chars().all(|c| c.is_ascii_uppercase() || " /&,()-'".contains(c));
    fits.then_some((head.trim(), after))
}

/// HTML or XHTML as plain text: tags go, blocks become lines.
fn plain_of_html(html: &str) -> String {
    let mut plain = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(&unescaped(before));
        let Some((tag, after)) = after.split_once('>') else {
            rest = "";
            break;
        };
        let name: String =
            tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        match name.to_ascii_lowercase().as_str() {
            "p" | "div" | "table" | "ul" | "ol" | "h1" | "h2" | "h3" | "h4" => {
                plain.push_str("\n\n")
            }
            "br" | "tr" | "li" => plain.push('\n'),
            "td" | "th" if tag.starts_with('/') => plain.push_str("  "),
            _ => {}
        }
        rest = after;
        if matches!(name.as_str(), "script" | "style") && !tag.starts_with('/') {
            rest = rest.split_once("</").map_or("", |(_, after)| after);
            rest = rest.split_once('>').map_or("", |(_, after)| after);
        }
    }
    plain.push_str(&unescaped(rest));
    let lines: Vec<&str> = plain.lines().map(str::trim).collect();
    lines.join("\n").trim().to_owned()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&nbsp;", " ")
        .replace("&#160;", " ")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(resource: &Value) -> Report {
        let items = [Item { source: 0, id: "d", resource }];
        reports(&items).pop().expect("a report")
    }

    #[test]
    fn a_dictated_report_keeps_its_words_and_shows_its_headings() {
        let dictated = "HISTORY OF PRESENT ILLNESS: She fell.\nTwice.\n\nIMPRESSION\n1. Sprain.";
        assert_eq!(
            blocks(dictated),
            [
                Block::Heading("HISTORY OF PRESENT ILLNESS".into()),
                Block::Text("She fell.\nTwice.".into()),
                Block::Heading("IMPRESSION".into()),
                Block::Text("1. Sprain.".into()),
            ]
        );
        assert_eq!(blocks("Na    140\nK     4.1"), [Block::Columns("Na    140\nK     4.1".into())]);
        assert_eq!(blocks("Seen at: noon"), [Block::Text("Seen at: noon".into())]);
    }

    #[test]
    fn an_unsigned_report_says_so() {
        let report = one(&json!({"resourceType": "DocumentReference", "status": "current",
            "docStatus": "preliminary", "type": {"text": "Consultation"}, "date": "2024-05-06",
            "author": [{"display": "Dr. Amara Okafor"}],
            "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": STANDARD.encode("Well.")}}]}));
        assert_eq!(
            (report.title.as_str(), report.author.as_str()),
            ("Consultation", "Dr. Amara Okafor")
        );
        assert_eq!((report.state.as_str(), report.settled), ("Preliminary, not signed", false));
        assert!(
            matches!(&report.content[0], Content::Text(text) if text == &[Block::Text("Well.".into())])
        );
    }

    #[test]
    fn a_report_does_not_repeat_its_title() {
        let report = one(
            &json!({"resourceType": "DocumentReference", "type": {"text": "Discharge summary"},
            "content": [{"attachment": {"contentType": "text/plain", "data": STANDARD.encode("DISCHARGE SUMMARY\n\nHome.")}}]}),
        );
        assert!(
            matches!(&report.content[0], Content::Text(text) if text == &[Block::Text("Home.".into())])
        );
    }

    #[test]
    fn what_a_page_cannot_show_is_named() {
        let file = |data: &str| {
            json!({"resourceType": "DocumentReference",
            "content": [{"attachment": {"contentType": "application/pdf", "data": data}}]})
        };
        let Content::Other(shown) = &one(&file(&STANDARD.encode([7; 3000]))).content[0] else {
            panic!("a file")
        };
        assert!(shown.contains("application/pdf, 3 kB"), "{shown}");
        let Content::Other(missing) = &one(&file("")).content[0] else { panic!("a file") };
        assert!(missing.contains("was not sent"), "{missing}");
    }

    #[test]
    fn markup_never_reaches_the_page() {
        let html = "<div xmlns=\"x\"><p>5 &lt; 6 &amp; <b>bold</b></p><script>alert(1)</script><p>end</p></div>";
        assert_eq!(plain_of_html(html), "5 < 6 & bold\n\n\n\nend");
        assert_eq!(plain_of_html("open <b"), "open");
    }
}
