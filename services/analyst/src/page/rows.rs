//! The pseudonymous rows, for visitors whose agreement and role let them hold these: Parquet files as they lie on disk.
//!
//! The one way past disclosure control, and never a way to publication. Each file that leaves is in the access log.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use hyper::body::Bytes;
use linkage_agreement::RunId;
use linkage_agreement::model::AnalystRight;
use linkage_common::error::ServiceError;
use maud::html;
use tokio::io::AsyncReadExt as _;

use super::Page;
use super::guard::Visit;
use super::journal::refused;
use super::lang::fill;
use super::layout::{self, Place};
use super::login::failure;
use super::views::capital;
use crate::access::{Access, Action, Outcome};

/// The tables of a run, without their ending.
const TABLES: [&str; 3] = ["link_table", "attributes", "supersessions"];
/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

fn allowed(page: &Page, visit: &Visit) -> Result<(), ServiceError> {
    if !visit.session.visitor.may(AnalystRight::RowLevel) {
        return Err(ServiceError::not_found(visit.lang.texts().not_found));
    }
    page.desk.permit(AnalystRight::RowLevel)
}

/// Where a table of a run lies, where it is there.
fn found(page: &Page, run: &RunId, table: &str) -> Option<PathBuf> {
    let path = page.tables.run_folder(run).join(format!("{table}.parquet"));
    path.is_file().then_some(path)
}

/// `GET /donnees`.
pub(super) async fn list(State(page): State<Arc<Page>>, visit: Visit) -> Response {
    let (lang, t) = (visit.lang, visit.lang.texts());
    let made = allowed(&page, &visit).and_then(|()| {
        page.seen(&visit, t.data)?;
        page.tables.runs()
    });
    let runs = match made {
        Ok(runs) => runs,
        Err(error) => return refused(lang, &error),
    };
    let content = html! {
        div.notice.warn { p { (t.rows_warning) } }
        @if runs.is_empty() { p { (t.empty) } } @else {
            div.wide tabindex="0" role="group" aria-label=(t.data) {
                table {
                    caption { (t.rows_caption) }
                    thead { tr { th.text scope="col" { (capital(t.run)) } @for name in TABLES { th.text scope="col" { (name) } } } }
                    tbody { @for run in runs.iter().rev() {
                        tr {
                            th.text scope="row" { (run) }
                            @for name in TABLES {
                                td.text {
                                    @if found(&page, run, name).is_some() {
                                        a href=(format!("/donnees/{run}/{name}.parquet")) aria-label=(fill(t.rows_link, &[name, run.as_str()])) { "Parquet" }
                                    } @else { "–" }
                                }
                            }
                        }
                    } }
                }
            }
        }
    };
    layout::page(&page, &visit, Place::Data, t.data, &content)
}

/// `GET /donnees/{run}/{file}`.
pub(super) async fn file(State(page): State<Arc<Page>>, visit: Visit, Path((run, file)): Path<(String, String)>) -> Response {
    let lang = visit.lang;
    if let Err(error) = allowed(&page, &visit) {
        return refused(lang, &error);
    }
    let table = file.strip_suffix(".parquet").and_then(|name| TABLES.into_iter().find(|t| *t == name));
    let path = run.parse::<RunId>().ok().zip(table).and_then(|(run, table)| found(&page, &run, table));
    let Some(path) = path else { return layout::refusal(lang, StatusCode::NOT_FOUND, lang.texts().not_found) };
    let subject = format!("{run}/{file}");
    let (who, action, outcome) = (&visit.session.visitor.who, Action::Export, Outcome::Done);
    let access = Access { who, action, subject: &subject, query: None, publication: None, outcome };
    if let Err(error) = page.desk.access().note(&access) {
        return failure(lang, &error);
    }
    match tokio::fs::File::open(path).await {
        Ok(file) => (
            [
                (header::CONTENT_TYPE, "application/vnd.apache.parquet".to_owned()),
                (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", subject.replace('/', "-"))),
            ],
            Body::from_stream(chunks(file)),
        )
            .into_response(),
        Err(error) => failure(lang, &ServiceError::from(error)),
    }
}

/// A file piece by piece: it may be larger than what this process should hold.
fn chunks(file: tokio::fs::File) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    futures::stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut chunk = vec![0; CHUNK];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some((Ok(Bytes::from(chunk)), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}
