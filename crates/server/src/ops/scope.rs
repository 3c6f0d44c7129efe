//! Whom somebody touched.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::question::Question;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// `GET /ops/scope?…&format=json|csv|text`.
pub(super) async fn scope(
    State(state): State<AppState>,
    Asking(ask): Asking,
    mut question: Question,
) -> Result<Response, Failure> {
    let format = Format::named(question.format.take().as_deref())?;
    let scope = state.exchange.scope(&ask, &question.scope_query()?).await?;
    Ok(match format {
        Format::Json => {
            ([(header::CONTENT_TYPE, "application/json")], scope.to_json()).into_response()
        }
        Format::Text => scope.to_table().into_response(),
        Format::Csv => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"scope.csv\""),
            ];
            (headers, scope.to_csv()).into_response()
        }
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Text,
}

impl Format {
    fn named(name: Option<&str>) -> Result<Self, Failure> {
        match name {
            None | Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("text") => Ok(Self::Text),
            Some(_) => Err(Failure::incorrect("format is json, csv or text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_is_not_known_is_refused() {
        assert_eq!(Format::named(None).ok(), Some(Format::Json));
        assert_eq!(Format::named(Some("csv")).ok(), Some(Format::Csv));
        assert!(Format::named(Some("pdf")).is_err());
    }
}
