//! What operations take and how their answers are made (FHIR R4 operations.html):
//! the parts that need no record opened.

mod arguments;
mod span_of_care;

pub use arguments::{Argument, Arguments, Declared, Kind, PARAMETERS_COUNT_MAX};
pub use span_of_care::{CareDates, encounter_parameter};
