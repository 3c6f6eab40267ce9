//! A document as headings, paragraphs, lists and tables; written as Markdown or as part of one HTML file to be printed.

use maud::{DOCTYPE, Markup, html};

/// What stands where the program cannot know the answer.
pub const TO_COMPLETE: &str = "À COMPLÉTER";

/// One part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A heading below the title.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A list.
    List(Vec<String>),
    /// A table; every row has as many cells as the header.
    Table {
        /// Column titles.
        header: Vec<String>,
        /// Rows.
        rows: Vec<Vec<String>>,
    },
}

/// One document of the pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// File name without ending.
    pub file: &'static str,
    /// Title.
    pub title: String,
    /// Parts, in order.
    pub blocks: Vec<Block>,
}

impl Document {
    /// An empty document.
    pub fn new(file: &'static str, title: impl Into<String>) -> Self {
        Self { file, title: title.into(), blocks: Vec::new() }
    }
    /// Adds a heading.
    pub fn heading(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Heading(text.into()));
        self
    }
    /// Adds a paragraph.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }
    /// Adds a list.
    pub fn list<T: Into<String>>(mut self, items: impl IntoIterator<Item = T>) -> Self {
        self.blocks.push(Block::List(items.into_iter().map(Into::into).collect()));
        self
    }
    /// Adds a table.
    pub fn table<const N: usize>(mut self, header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Self {
        let header = header.iter().map(|title| (*title).to_owned()).collect();
        self.blocks.push(Block::Table { header, rows: rows.into_iter().map(Vec::from).collect() });
        self
    }

    /// Passages that wait for an answer.
    pub fn to_complete(&self) -> usize {
        let count = |text: &String| text.matches(TO_COMPLETE).count();
        self.blocks
            .iter()
            .map(|block| match block {
                Block::Heading(text) | Block::Text(text) => count(text),
                Block::List(items) => items.iter().map(count).sum(),
                Block::Table { rows, .. } => rows.iter().flatten().map(count).sum(),
            })
            .sum()
    }

    /// The document as Markdown (CommonMark, with tables as GitHub and Pandoc read them).
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n", self.title);
        for block in &self.blocks {
            out.push('\n');
            match block {
                Block::Heading(text) => out.push_str(&format!("## {text}\n")),
                Block::Text(text) => out.push_str(&format!("{text}\n")),
                Block::List(items) => items.iter().for_each(|item| out.push_str(&format!("* {item}\n"))),
                Block::Table { header, rows } => {
                    let line = |cells: &[String]| {
                        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
                        format!("| {} |\n", cells.join(" | "))
                    };
                    out.push_str(&line(header));
                    out.push_str(&format!("|{}\n", "---|".repeat(header.len())));
                    rows.iter().for_each(|row| out.push_str(&line(row)));
                }
            }
        }
        out
    }

    fn html(&self) -> Markup {
        html! {
            section id=(self.file) {
                h1 { (self.title) }
                @for block in &self.blocks {
                    @match block {
                        Block::Heading(text) => { h2 { (text) } }
                        Block::Text(text) => { p { (text) } }
                        Block::List(items) => { ul { @for item in items { li { (item) } } } }
                        Block::Table { header, rows } => {
                            table {
                                thead { tr { @for title in header { th scope="col" { (title) } } } }
                                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// All documents in one page that nothing has to be fetched for.
pub fn printable(title: &str, documents: &[Document]) -> String {
    html! {
        (DOCTYPE)
        html lang="fr" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                header { p.title { (title) } }
                nav aria-label="Documents" { ol { @for d in documents { li { a href=(format!("#{}", d.file)) { (d.title) } } } } }
                main { @for document in documents { (document.html()) } }
            }
        }
    }
    .into_string()
}

const STYLE: &str = "
body { font: 1rem/1.5 system-ui, sans-serif; color: #161616; background: #fff; max-width: 60rem; margin: 0 auto; padding: 1rem; }
.title { font-size: 1.6rem; font-weight: 700; }
h1 { font-size: 1.4rem; border-bottom: 2px solid #000091; padding-bottom: .3rem; margin-top: 2.5rem; }
h2 { font-size: 1.1rem; margin-top: 1.6rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: .9rem; }
th, td { border: 1px solid #929292; padding: .4rem .6rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { background: #eeeeee; }
a { color: #000091; }
@media print { nav { display: none; } section { break-before: page; } section:first-of-type { break-before: auto; } tr { break-inside: avoid; } body { max-width: none; padding: 0; } }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_every_cell_and_nothing_is_read_as_markup() {
        let document = Document::new("d", "Titre <b>")
            .heading("Un")
            .text(format!("Réponse : {TO_COMPLETE}"))
            .list(["a", "b"])
            .table(["x", "y"], [["1|2".to_owned(), format!("{TO_COMPLETE} & {TO_COMPLETE}")]]);
        assert_eq!(document.to_complete(), 3);
        let markdown = document.markdown();
        assert!(markdown.contains("| 1\\|2 |") && markdown.contains("|---|---|") && markdown.contains("* b\n"));
        let page = printable("T", &[document]);
        assert!(page.contains("Titre &lt;b&gt;") && page.contains("<td>1|2</td>"));
        assert!(!page.contains("<script") && !page.contains("http"));
    }
}
