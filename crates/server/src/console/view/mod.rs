//! From disclosed resources to what a page shows: rows of text, series of numbers.
//!
//! Invariants: pure (the day is an argument); what is missing or malformed in a
//! resource leaves a gap in its row and never takes the row away; what is marked
//! as entered in error is counted and not shown. What these types hold is PHI, so
//! none of them can be printed: they have no `Debug`.

mod chart;
mod found;
mod moment;
mod person;
mod reports;
mod results;
mod rows;
mod text;

pub(crate) use chart::{ChartView, chart_view};
pub(crate) use found::{FoundRow, found_row, look_up_pairs};
pub(crate) use moment::Moment;
pub(crate) use person::PersonView;
pub(crate) use reports::{Block, Content, Report};
pub(crate) use results::{Flag, FlagLevel, Narrative, Panel, Reading, Series};
pub(crate) use rows::Row;
