//! Files of tables: what they say of themselves, how signs stand, and that no text in them is ever computed.

use linkage_cohort::{Category, Dimension, Note, Shown};

use super::*;

fn value(value: f64) -> Shown {
    Shown::Value { value, interval: Some([value - 10.5, value + 10.0]), uncertain: false }
}

fn dimension(name: &str, values: &[&str], partition: bool) -> Dimension {
    let mut categories: Vec<Category> = values.iter().map(|v| Category::Value((*v).to_owned())).collect();
    if partition {
        categories.extend([Category::Unknown, Category::Total]);
    }
    Dimension { name: name.to_owned(), categories, partition }
}

/// Two months by sex, with every kind of cell.
fn sample() -> PublicTable {
    let mut table = crate::testing::table("Personnes, par mois et par sexe");
    table.dimensions = vec![dimension("period", &["2024-01", "2024-02"], false), dimension("sexe", &["1", "2"], true)];
    table.cells = vec![
        value(1_234.0),
        Shown::Hidden,
        Shown::Hidden,
        value(2_000.0),
        Shown::Missing,
        Shown::Value { value: 12.0, interval: Some([0.0, 40.0]), uncertain: true },
        Shown::Value { value: 0.0, interval: None, uncertain: false },
        Shown::Value { value: 3.5, interval: None, uncertain: false },
    ];
    table.notes = vec![Note::NotDelivered { period: "2024-02".parse().unwrap(), party: "ccas".parse().unwrap() }];
    table
}

fn about(standing: Standing) -> About {
    About {
        title: "Personnes, par mois et par sexe".to_owned(),
        agreement: "Essai".to_owned(),
        analyst: "Étude".to_owned(),
        release: Release { runs: vec!["r1".parse().unwrap(), "r2".parse().unwrap()], withdrawals: 0 },
        standing,
    }
}

fn published() -> Standing {
    Standing::Published {
        id: "0123456789abcdef".parse().unwrap(),
        fingerprint: Fingerprint([0xab; 32]),
        on: "2026-11-22".parse().unwrap(),
    }
}

fn text(format: Format, standing: Standing, table: &PublicTable) -> String {
    String::from_utf8(file(format, &about(standing), &[Part::plain(table)]).unwrap()).unwrap()
}

#[test]
fn csv_has_one_line_a_figure_after_what_the_file_is() {
    let csv = text(Format::Csv, published(), &sample());
    let (comments, lines): (Vec<&str>, Vec<&str>) = csv.lines().partition(|l| l.starts_with('#'));
    assert_eq!(
        lines,
        [
            "période,sexe,valeur,bas,haut,incertain,statut",
            "2024-01,1,1234,1223.5,1244,,Publié le 2026-11-22 sous 0123456789abcdef",
            "2024-01,2,s,,,,Publié le 2026-11-22 sous 0123456789abcdef",
            "2024-01,inconnu,s,,,,Publié le 2026-11-22 sous 0123456789abcdef",
            "2024-01,ensemble,2000,1989.5,2010,,Publié le 2026-11-22 sous 0123456789abcdef",
            "2024-02,1,n.d.,,,,Publié le 2026-11-22 sous 0123456789abcdef",
            "2024-02,2,12,0,40,oui,Publié le 2026-11-22 sous 0123456789abcdef",
            "2024-02,inconnu,0,,,,Publié le 2026-11-22 sous 0123456789abcdef",
            "2024-02,ensemble,3.5,,,,Publié le 2026-11-22 sous 0123456789abcdef",
        ]
    );
    for expected in [
        "# Données : traitements r1, r2",
        "# Empreinte : abab abab abab abab abab abab abab abab",
        "# 2024-02 : ccas n'a rien livré.",
        "# s : masqué (secret statistique).",
    ] {
        assert!(comments.contains(&expected), "{expected} is not in {comments:#?}");
    }
    assert!(comments.iter().any(|c| c.contains("inférieur à 11 est masqué")));
}

#[test]
fn every_file_of_a_draft_says_so_and_that_of_a_publication_does_not() {
    let id: PublicationId = "0123456789abcdef".parse().unwrap();
    for standing in [Standing::Draft, Standing::Proposed(id.clone()), Standing::Rejected(id.clone())] {
        for format in [Format::Csv, Format::Html, Format::Json] {
            assert!(text(format, standing.clone(), &sample()).contains("Brouillon, non publié"), "{format:?}");
        }
        assert!(sheets(standing).iter().all(|s| s.contains("Brouillon, non publié")));
    }
    for format in [Format::Csv, Format::Html, Format::Json] {
        let text = text(format, published(), &sample());
        assert!(!text.contains("Brouillon") && text.contains(id.as_str()), "{format:?}");
    }
    assert!(sheets(published()).iter().all(|s| !s.contains("Brouillon") && s.contains(id.as_str())));
}

#[test]
fn a_page_is_complete_and_runs_nothing() {
    let mut table = sample();
    table.title = "<script>alert(1)</script>\"'".to_owned();
    let page = text(Format::Html, Standing::Draft, &table);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    for wanted in [
        "default-src 'none'",
        "<caption>",
        "scope=\"col\"",
        "scope=\"row\"",
        "lang=\"fr\"",
        "1\u{202f}234",
        "[1\u{202f}223,5 à 1\u{202f}244]",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for loaded in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(loaded), "{loaded}");
    }
}

#[test]
fn no_text_is_read_as_a_formula_by_any_spreadsheet() {
    let mut table = sample();
    let hostile = ["=1+1", "+1;=2", "@x", "-x", "a;=b", "a,\t=b", "a, \"@b", "\t=x", "a\n=b", "# x"];
    table.dimensions[1] = dimension("=sexe;+x", &hostile[..4], false);
    for (i, title) in hostile.iter().enumerate() {
        table.title = (*title).to_owned();
        table.dimensions[1].categories[i % 4] = Category::Value((*title).to_owned());
        let csv = text(Format::Csv, Standing::Draft, &table);
        for line in csv.lines() {
            // However a line is cut into cells, none begins a formula unless it is a number.
            for cell in line.split([',', ';', '\t']) {
                let cell = cell.trim_matches([' ', '"']);
                assert!(!cell.starts_with(['=', '+', '@', '-']) || cell.parse::<f64>().is_ok(), "{cell} in {line}");
            }
        }
    }
}

/// Texts of the two sheets of a workbook, comma by comma, read back without a library that writes them.
fn sheets(standing: Standing) -> Vec<String> {
    let bytes = file(Format::Xlsx, &about(standing), &[Part::plain(&sample())]).unwrap();
    let mut book: calamine::Xlsx<_> = calamine::open_workbook_from_rs(std::io::Cursor::new(bytes)).unwrap();
    use calamine::Reader as _;
    assert_eq!(book.sheet_names(), ["Chiffres", "Notes"]);
    ["Chiffres", "Notes"]
        .map(|name| {
            let range = book.worksheet_range(name).unwrap();
            range
                .rows()
                .map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"))
                .collect::<Vec<_>>()
                .join("\n")
        })
        .to_vec()
}

#[test]
fn a_workbook_has_the_figures_and_their_intervals() {
    let [figures, notes] = sheets(published()).try_into().unwrap();
    for wanted in ["période|1|2|inconnu|ensemble", "2024-01|1234|s|s|2000", "2024-02|n.d.|12|0|3.5"] {
        assert!(figures.contains(wanted), "{wanted} is not in\n{figures}");
    }
    for wanted in ["2024-01|1|1234|1223.5|1244", "2024-02|2|12|0|40|oui", "2024-02 : ccas n'a rien livré."] {
        assert!(notes.contains(wanted), "{wanted} is not in\n{notes}");
    }
    let again = file(Format::Xlsx, &about(published()), &[Part::plain(&sample())]).unwrap();
    assert_eq!(again, file(Format::Xlsx, &about(published()), &[Part::plain(&sample())]).unwrap());
}

#[test]
fn long_dimensions_run_down_and_every_figure_keeps_its_place() {
    let months: Vec<String> = (1..=6).map(|m| format!("2024-{m:02}")).collect();
    let months: Vec<&str> = months.iter().map(String::as_str).collect();
    let many: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut table = sample();
    for (dimensions, across, rows) in [
        (vec![dimension("period", &months, false)], None, 6),
        (vec![dimension("period", &months, false), dimension("x", &many, false)], Some("période"), 20),
        (vec![dimension("period", &many, false), dimension("x", &many, false)], None, 400),
        (
            vec![dimension("period", &months, false), dimension("x", &many, false), dimension("y", &["a", "b"], false)],
            Some("y"),
            120,
        ),
    ] {
        let cells = dimensions.iter().map(|d| d.categories.len()).product::<usize>();
        table.dimensions = dimensions;
        table.cells = (0..cells).map(|n| value(n as f64)).collect();
        let grid = grid::grid(&table);
        assert_eq!((grid.across.as_deref(), grid.rows.len()), (across, rows));
        // Rows in order and columns across: the figures come back in the order of the cube, or turned.
        let figures: Vec<Shown> = match across {
            Some("période") => (0..6).flat_map(|m| grid.rows.iter().map(move |r| r.cells[m])).collect(),
            _ => grid.rows.iter().flat_map(|r| r.cells.clone()).collect(),
        };
        assert_eq!(figures, table.cells);
        let heads = grid.rows.iter().map(|r| r.heads.len()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(heads, [grid.heads.len()].into());
    }
}

#[test]
fn figures_are_written_as_french_readers_do() {
    for (figure, text) in [
        (0.0, "0"),
        (999.0, "999"),
        (1_234_567.0, "1\u{202f}234\u{202f}567"),
        (3.12, "3,1"),
        (-12_000.5, "\u{2212}12\u{202f}000,5"),
    ] {
        assert_eq!(labels::number(figure), text);
    }
}
