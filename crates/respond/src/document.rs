//! What a letter or a notice says, before it is laid out. Texts are composed
//! here and tested here; the layout adds nothing and leaves nothing out.

/// One letter or notice.
#[derive(Clone, PartialEq)]
pub(crate) struct Document {
    /// The document's title for readers and screen readers; no name in it.
    pub(crate) about: String,
    /// In whose name it goes.
    pub(crate) sender: Sender,
    /// For the window of the envelope: name, street, city.
    pub(crate) addressee: Vec<String>,
    /// `November 23, 2026`.
    pub(crate) date: String,
    /// `HF-000007`.
    pub(crate) reference: String,
    /// Everything from the title to the signature.
    pub(crate) blocks: Vec<Block>,
}

/// The head of the first page.
#[derive(Clone, PartialEq)]
pub(crate) struct Sender {
    pub(crate) name: String,
    /// Postal address and contacts, each a short phrase.
    pub(crate) details: Vec<String>,
    /// `Sent by … on behalf of …`; empty when the sender writes for itself.
    pub(crate) on_behalf: String,
}

/// A piece of a document.
#[derive(Clone, PartialEq)]
pub(crate) enum Block {
    Title(String),
    Heading(String),
    Paragraph(String),
    /// Each with an optional lead in bold.
    Bullets(Vec<(String, String)>),
    /// Side by side, each with a name in bold.
    Columns(Vec<(String, Vec<String>)>),
    Table(Table),
    /// Closing words, then who signs.
    Signature(String, Vec<String>),
}

/// A table whose first row is its head.
#[derive(Clone, PartialEq)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Share of the width that each column gets; they add up to 1.
    pub(crate) widths: Vec<f32>,
    /// Columns that are set flush right: counts.
    pub(crate) numeric: Vec<bool>,
}

impl Document {
    /// Everything that the reader will read, in reading order.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.sender.name.clone(), self.sender.on_behalf.clone()];
        lines.extend(self.sender.details.iter().cloned());
        lines.extend(self.addressee.iter().cloned());
        lines.extend([self.date.clone(), self.reference.clone()]);
        for block in &self.blocks {
            match block {
                Block::Title(text) | Block::Heading(text) | Block::Paragraph(text) => {
                    lines.push(text.clone());
                }
                Block::Bullets(bullets) => {
                    lines.extend(bullets.iter().map(|(lead, text)| format!("{lead} {text}")));
                }
                Block::Columns(columns) => {
                    for (name, rest) in columns {
                        lines.push(name.clone());
                        lines.extend(rest.iter().cloned());
                    }
                }
                Block::Table(table) => {
                    lines.push(table.head.join(" "));
                    lines.extend(table.rows.iter().map(|row| row.join(" ")));
                }
                Block::Signature(closing, names) => {
                    lines.push(closing.clone());
                    lines.extend(names.iter().cloned());
                }
            }
        }
        lines.join("\n")
    }

    /// The headings, in order.
    #[cfg(test)]
    pub(crate) fn headings(&self) -> Vec<&str> {
        self.blocks
            .iter()
            .filter_map(|block| match block {
                Block::Heading(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}
