//! Documents as PDF: US Letter, embedded fonts, tagged for screen readers
//! (PDF/UA-1), made for a number 10 window envelope.

mod fonts;
mod lines;
mod page;
mod write;

pub(crate) use fonts::Fonts;
pub(crate) use page::fits_window;
pub(crate) use write::render;

/// Why no PDF was made.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// A font that is compiled in cannot be read: a defect.
    #[error("the built-in font {0} cannot be read")]
    Font(&'static str),
    /// The PDF writer refused the document: a defect.
    #[error("the document cannot be written as accessible PDF: {0}")]
    Refused(String),
}
