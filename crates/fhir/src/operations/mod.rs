//! What operations take and how their answers are made (FHIR R4 operations.html):
//! the parts that need no record opened.

mod arguments;
mod diff;
mod meta;
mod span_of_care;

pub use arguments::{Argument, Arguments, Declared, Kind, PARAMETERS_COUNT_MAX};
pub use diff::diff;
pub use meta::{changed_meta, meta_answer};
pub use span_of_care::{CareDates, encounter_parameter};
