//! Reports: what they ask of studies with and without attributes, and a study counted by hand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::unused_self, missing_docs)]

#[path = "query/naive.rs"]
mod naive;

use linkage_agreement::model::Rule;
use linkage_cohort::disclosure::cell_key::Noise;
use linkage_cohort::disclosure::{Policy, protect_together};
use linkage_cohort::interval::ErrorRates;
use linkage_cohort::query::{Grain, Inputs, Measure, Query, check, evaluate};
use linkage_cohort::reports::{Content, Kind, Laid, Report, ReportError, Request, plan};
use linkage_cohort::study::{AttributeColumn, Row, Study};
use linkage_cohort::{Category, Method, PublicTable, Shown, Unit};
use naive::{MonthRows, Rows, attribute};

fn codes(name: &str, values: &[&str]) -> AttributeColumn {
    attribute(name, Rule::Code { values: values.iter().map(|v| (*v).to_owned()).collect() }, values)
}

fn attributes() -> Vec<AttributeColumn> {
    let many =
        ["RSA", "PPA", "AAH", "AF", "AL", "ASF", "APA", "PCH", "ASE", "DOMICILIATION", "AIDE_ALIMENTAIRE", "INSERTION", "IML"];
    vec![
        codes("sexe", &["1", "2", "M", "F"]),
        attribute("date_naissance", Rule::Month, &["1980-05", "2005-01"]),
        codes("hebergement", &["RUE", "HOTEL", "LOGEMENT_AUTONOME"]),
        codes("type_accompagnement", &many),
    ]
}

fn row(person: u32, party: u8, attributes: [Option<u16>; 4]) -> Row {
    Row {
        person,
        party,
        record: person * 2 + u32::from(party),
        household: Some(person / 2),
        match_class: 1,
        probability: 10_000,
        attributes: attributes.to_vec(),
    }
}

/// Forty persons in twenty households. The ccas knows 0 to 29 in January, 5 to 29 in February, all of them in March; the
/// siao knows 10 to 24 from February on. Even numbers are men in one code or the other; the first twenty are under 25.
fn rows() -> Rows {
    let with = |ccas: std::ops::Range<u32>, siao: std::ops::Range<u32>| {
        let of = |person: u32, party: u8| {
            let sex = if party == 0 { person % 2 } else { 2 + person % 2 };
            let housing = (person < 12).then_some(if party == 0 { 0 } else { 1 });
            row(person, party, [Some(sex as u16), Some(u16::from(person < 20)), housing, Some(if party == 0 { 9 } else { 11 })])
        };
        let mut rows: Vec<Row> = ccas.map(|p| of(p, 0)).chain(siao.map(|p| of(p, 1))).collect();
        rows.sort_unstable_by_key(|r| (r.person, r.party));
        rows
    };
    let month = |period: &str, rows: Vec<Row>| MonthRows {
        period: period.to_owned(),
        delivered: vec![true; 2],
        rows,
        compositions: vec![None; 20],
    };
    Rows {
        parties: ["ccas", "siao"].map(str::to_owned).to_vec(),
        attributes: attributes(),
        persons: 40,
        households: 20,
        classes: vec!["personne seule".to_owned()],
        months: vec![
            month("2024-01", with(0..30, 0..0)),
            month("2024-02", with(5..30, 10..25)),
            month("2024-03", with(0..40, 10..25)),
        ],
    }
}

fn request(report: Kind, period: &str, population: Option<&str>) -> Request {
    let population = population.map(|p| {
        let text = format!("title = 't'\nmeasure = 'count'\nperiods = {{ from = '2024-01', to = '2024-01' }}\npopulation = {p}");
        Query::from_toml(&text).unwrap().population.unwrap()
    });
    Request { report, period: period.parse().unwrap(), population }
}

fn made(request: &Request, minimum: u64) -> (Report, Vec<Laid>) {
    let rows = rows();
    let (study, keys, given) = (rows.study(), rows.keys(), rows.given());
    let report = plan(request, &study).unwrap();
    let inputs: Inputs<'_> = given.inputs(&keys);
    let raw: Vec<_> = report.queries().iter().map(|q| (evaluate(q, &study, inputs).unwrap(), q.title.clone())).collect();
    let named: Vec<_> = raw.iter().map(|(table, title)| (table, title.as_str())).collect();
    let policy = Policy { method: Method::Suppression, minimum, dominance_percent: 85, round_to: 1 };
    let shown = protect_together(&named, &policy, &ErrorRates::default(), &Noise::new()).unwrap();
    let laid = report.lay_out(&shown).unwrap();
    (report, laid)
}

fn of<'l>(laid: &'l [Laid], heading: &str) -> &'l Laid {
    laid.iter().find(|l| l.heading == heading).unwrap_or_else(|| panic!("{heading}"))
}

/// A table as text: a line for each row of its last dimension.
fn text(table: &PublicTable) -> Vec<String> {
    let name = |c: &Category| match c {
        Category::Value(value) => value.clone(),
        Category::Unknown => "inconnu".to_owned(),
        Category::Absent => "absent".to_owned(),
        Category::Others => "autres".to_owned(),
        Category::Total => "ensemble".to_owned(),
    };
    let mut heads = vec![String::new()];
    for dimension in &table.dimensions[..table.dimensions.len() - 1] {
        let all = |head: String| dimension.categories.iter().map(move |c| format!("{head}{}, ", name(c)));
        heads = heads.into_iter().flat_map(all).collect();
    }
    let cell = |shown: &Shown| match shown {
        Shown::Value { value, .. } => value.to_string(),
        Shown::Hidden => "s".to_owned(),
        Shown::Missing => "n.d.".to_owned(),
    };
    let columns = &table.dimensions.last().unwrap().categories;
    let line = |(head, cells): (String, &[Shown])| {
        let cells: Vec<String> = columns.iter().zip(cells).map(|(c, s)| format!("{} {}", name(c), cell(s))).collect();
        format!("{head}{}", cells.join(", "))
    };
    heads.into_iter().zip(table.cells.chunks(columns.len())).map(line).collect()
}

#[test]
fn every_query_of_every_report_is_one_that_the_study_can_answer() {
    let with = rows().study();
    let without = Study { attributes: Vec::new(), ..Rows { attributes: Vec::new(), ..rows() }.study() };
    for study in [&with, &without] {
        for kind in Kind::ALL {
            for population in [Some("{ party = 'siao' }"), Some("{ all = [{ party = 'siao' }, { not = { party = 'ccas' } }] }")] {
                let report = plan(&request(kind, "2024-03", population), study).unwrap();
                assert!(!report.queries().is_empty());
                for query in report.queries() {
                    check(&query, study).unwrap_or_else(|e| panic!("{kind:?} {} : {e}", query.title));
                    assert_eq!(Query::from_toml(&query.to_toml().unwrap()), Ok(query));
                }
            }
        }
    }
    let absent = |kind: Kind| -> Vec<(String, String)> {
        let report = plan(&request(kind, "2024-03", Some("{ party = 'siao' }")), &without).unwrap();
        let of = |section: &linkage_cohort::reports::Section| match &section.content {
            Content::Absent(attribute) => Some((section.heading.clone(), attribute.clone())),
            _ => None,
        };
        report.sections.iter().filter_map(of).collect()
    };
    let named = |pairs: &[(&str, &str)]| pairs.iter().map(|(h, a)| ((*h).to_owned(), (*a).to_owned())).collect::<Vec<_>>();
    assert_eq!(
        absent(Kind::MonthlyNeeds),
        named(&[("Par situation d’hébergement", "hebergement"), ("Par service et situation d’hébergement", "hebergement")])
    );
    assert_eq!(absent(Kind::QuarterlyActivity), named(&[("Accompagnements en cours", "type_accompagnement")]));
    assert_eq!(
        absent(Kind::Annual),
        named(&[
            ("Par âge", "date_naissance"),
            ("Par sexe", "sexe"),
            ("Par âge et sexe", "date_naissance"),
            ("Type de demande", "type_accompagnement"),
            ("Résultats", "resultat"),
            ("Situation à la sortie", "hebergement"),
        ])
    );
    assert_eq!(absent(Kind::ReferenceCohort), []);
}

#[test]
fn periods_are_those_held_of_the_month_the_quarter_and_the_year() {
    let mut rows = rows();
    let add = |period: &str| MonthRows {
        period: period.to_owned(),
        delivered: vec![true; 2],
        rows: Vec::new(),
        compositions: Vec::new(),
    };
    rows.months.insert(0, add("2022-12"));
    rows.months.insert(1, add("2023-03"));
    rows.months.push(add("2024-05"));
    let study = rows.study();
    let asked = |kind: Kind, period: &str| {
        plan(&request(kind, period, Some("{ party = 'siao' }")), &study).map(|report| {
            let first = &report.queries()[0];
            (report.title, first.periods.from.to_string(), first.periods.to.to_string(), first.grain)
        })
    };
    let is = |title: &str, from: &str, to: &str, grain| Ok((title.to_owned(), from.to_owned(), to.to_owned(), grain));
    assert_eq!(
        asked(Kind::MonthlyNeeds, "2024-03"),
        is("Vue mensuelle des besoins, mars 2024", "2023-03", "2024-03", Grain::Month)
    );
    assert_eq!(
        asked(Kind::QuarterlyActivity, "2024-02"),
        is("Tableau d’activité, 1er trimestre 2024", "2024-01", "2024-03", Grain::Quarter)
    );
    assert_eq!(
        asked(Kind::QuarterlyActivity, "2024-04"),
        is("Tableau d’activité, 2e trimestre 2024", "2024-05", "2024-05", Grain::Quarter)
    );
    assert_eq!(asked(Kind::Annual, "2024-11"), is("Rapport annuel 2024", "2024-01", "2024-05", Grain::Year));
    assert_eq!(
        asked(Kind::ReferenceCohort, "2024-08"),
        is("Cohorte de référence, suivie jusqu’en mai 2024", "2022-12", "2024-05", Grain::Month)
    );
    let none = || Err(ReportError::NoMonth { held: "de 2022-12 à 2024-05".to_owned() });
    assert_eq!(asked(Kind::MonthlyNeeds, "2024-04"), none());
    assert_eq!(asked(Kind::QuarterlyActivity, "2023-06"), none());
    assert_eq!(asked(Kind::Annual, "2025-01"), none());
    let refused = plan(&request(Kind::ReferenceCohort, "2024-03", None), &study);
    assert_eq!(refused, Err(ReportError::NoCohort));
}

#[test]
fn the_month_is_counted_by_hand() {
    let (report, laid) = made(&request(Kind::MonthlyNeeds, "2024-03", None), 3);
    assert_eq!(report.title, "Vue mensuelle des besoins, mars 2024");
    let table = |heading: &str| text(&of(&laid, heading).tables[0]);
    assert_eq!(
        table("Personnes"),
        [
            "2024-01, Présentes 30, Entrées n.d., Retours n.d., Sorties n.d.",
            "2024-02, Présentes 25, Entrées 0, Retours 0, Sorties 5",
            "2024-03, Présentes 40, Entrées 10, Retours 5, Sorties 0",
        ]
    );
    assert_eq!(
        table("Ménages"),
        [
            "2024-01, Présents 15, Entrés n.d., Revenus n.d., Sortis n.d.",
            // Two leave, since person 5 of the third stays; thirteen in place of fifteen would tell as much.
            "2024-02, Présents s, Entrés 0, Revenus 0, Sortis s",
            "2024-03, Présents 20, Entrés 5, Revenus s, Sortis 0",
        ]
    );
    assert_eq!(
        table("Par service"),
        [
            "2024-03, ccas, Présentes 40, Entrées 10, Retours 5, Sorties 0",
            "2024-03, siao, Présentes 15, Entrées 0, Retours 0, Sorties 0",
        ]
    );
    assert_eq!(
        table("Par service, mois par mois"),
        ["2024-01, ccas 30, siao 0", "2024-02, ccas 25, siao 15", "2024-03, ccas 40, siao 15"]
    );
    // The ccas comes first in the agreement, so that it says where persons are housed whom both know.
    assert_eq!(
        table("Par situation d’hébergement"),
        [
            "2024-03, rue, Présentes 12, Entrées 0, Retours 5, Sorties 0",
            "2024-03, hôtel, Présentes 0, Entrées 0, Retours 0, Sorties 0",
            "2024-03, logement autonome, Présentes 0, Entrées 0, Retours 0, Sorties 0",
            "2024-03, inconnu, Présentes 28, Entrées 10, Retours 0, Sorties 0",
            "2024-03, ensemble, Présentes 40, Entrées 10, Retours 5, Sorties 0",
        ]
    );
    assert_eq!(table("Recouvrements entre services"), ["2024-03, ccas 25, ccas + siao 15, ensemble 40"]);
    // At the siao two of its fifteen are at a hotel, which is below the minimum: the others are hidden with them.
    assert_eq!(
        table("Par service et situation d’hébergement")[1],
        "2024-03, siao, rue 0, hôtel s, logement autonome 0, inconnu s, ensemble 15"
    );
}

#[test]
fn the_quarter_is_counted_by_hand() {
    let (_, laid) = made(&request(Kind::QuarterlyActivity, "2024-01", None), 3);
    let quarter = &of(&laid, "Ensemble du trimestre").tables[0];
    assert_eq!(text(quarter), ["2024-T1, Accompagnées 40, Entrées 10, Retours 5, Sorties 5, Ménages accompagnés 20"]);
    assert_eq!((quarter.title.as_str(), quarter.measure.as_str()), ("Trimestre", "lines"));
    assert_eq!(
        text(&of(&laid, "Par service").tables[0]),
        [
            "2024-01, ccas, Accompagnées 30, Entrées n.d., Retours n.d., Sorties n.d.",
            "2024-01, siao, Accompagnées 0, Entrées n.d., Retours n.d., Sorties n.d.",
            "2024-02, ccas, Accompagnées 25, Entrées 0, Retours 0, Sorties 5",
            "2024-02, siao, Accompagnées 15, Entrées 15, Retours 0, Sorties 0",
            "2024-03, ccas, Accompagnées 40, Entrées 10, Retours 5, Sorties 0",
            "2024-03, siao, Accompagnées 15, Entrées 0, Retours 0, Sorties 0",
        ]
    );
    let running = &of(&laid, "Accompagnements en cours").tables;
    let titles: Vec<&str> = running.iter().map(|t| t.title.as_str()).collect();
    assert_eq!(titles, ["Accompagnements en cours : ccas", "Accompagnements en cours : siao"]);
    // Each service's own records tell, and kinds that nobody has are left out of the long list.
    assert_eq!(text(&running[1])[2], "2024-03, insertion 15, inconnu 0, ensemble 15");
    assert_eq!(text(&running[0])[2], "2024-03, domiciliation 40, inconnu 0, ensemble 40");
}

#[test]
fn the_year_is_counted_by_hand() {
    let (report, laid) = made(&request(Kind::Annual, "2024-07", Some("{ party = 'siao' }")), 3);
    assert_eq!(report.title, "Rapport annuel 2024");
    let table = |heading: &str| text(&of(&laid, heading).tables[0]);
    assert_eq!(table("Ensemble de l’année"), ["2024, Accompagnées 15, Entrées 15, Retours 0, Sorties 0, Ménages accompagnés 8"]);
    assert_eq!(
        table("Par âge"),
        ["2024, moins de 25 ans 10, 25 à 29 ans 0, 30 à 49 ans 5, 50 à 59 ans 0, 60 ans et plus 0, inconnu 0, ensemble 15"]
    );
    // Even numbers from 10 to 24 are men, whatever code they bear.
    assert_eq!(table("Par sexe"), ["2024, femmes 7, hommes 8, inconnu 0, ensemble 15"]);
    assert_eq!(of(&laid, "Résultats").absent.as_deref(), Some("resultat"));
    assert_eq!(table("Services connus"), ["2024, ccas + siao 15, ensemble 15"]);
    let notes = &of(&laid, "Par sexe").tables[0].notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_cohort_is_followed_from_its_month() {
    let (_, laid) = made(&request(Kind::ReferenceCohort, "2024-03", Some("{ party = 'ccas', period = '2024-01' }")), 3);
    let found = &of(&laid, "Trouvées où, et au bout de combien de temps").tables;
    assert_eq!(found.len(), 2);
    let life = text(&found[0]);
    let at = |party: &str, delay: &str| life.iter().find(|l| l.contains(&format!("{party}, {delay}"))).unwrap().as_str();
    assert_eq!(
        at("siao", "1 mois après"),
        "2024, siao, 1 mois après, trouvées 15, suivies jusque-là, non trouvées 0, ensemble 15"
    );
    assert_eq!(
        at("siao", "2 mois après"),
        "2024, siao, 2 mois après, trouvées 0, suivies jusque-là, non trouvées 15, ensemble 15"
    );
    assert_eq!(at("siao", "ensemble"), "2024, siao, ensemble, trouvées 15, suivies jusque-là, non trouvées 15, ensemble 30");
    assert_eq!(found[1].measure, "delay-shares");
    assert_eq!(
        text(&found[1]),
        [
            "2024, ccas, le mois de l’entrée 100, 1 mois au plus n.d., 2 mois au plus n.d., 3 mois au plus n.d., \
             6 mois au plus n.d., 12 mois au plus n.d.",
            "2024, siao, le mois de l’entrée 0, 1 mois au plus 50, 2 mois au plus 50, 3 mois au plus n.d., \
             6 mois au plus n.d., 12 mois au plus n.d.",
        ]
    );
    assert_eq!(
        text(&of(&laid, "Présence par service, mois par mois").tables[0]),
        ["2024-01, ccas 30, siao 0", "2024-02, ccas 25, siao 15", "2024-03, ccas 30, siao 15"]
    );
}

#[test]
fn shares_follow_cutler_and_ederer_and_hide_what_is_hidden() {
    let (_, laid) = made(&request(Kind::ReferenceCohort, "2024-03", Some("{ party = 'ccas', period = '2024-01' }")), 16);
    let found = &of(&laid, "Trouvées où, et au bout de combien de temps").tables;
    // Fifteen are found, below sixteen: shares need the figure from their delay on.
    let line = &text(&found[1])[1];
    assert_eq!(
        line,
        "2024, siao, le mois de l’entrée 0, 1 mois au plus s, 2 mois au plus s, 3 mois au plus s, 6 mois au plus s, \
         12 mois au plus s"
    );
}

#[test]
fn answers_that_are_not_those_of_the_report_are_refused() {
    let study = rows().study();
    let report = plan(&request(Kind::Annual, "2024-01", None), &study).unwrap();
    assert_eq!(report.lay_out(&[]), None);
    let household: Vec<Query> = report.queries().into_iter().filter(|q| q.unit == Unit::Households).collect();
    assert!(household.iter().all(|q| q.measure == Measure::Count));
}
