//! The query builder's form: its fields to a query document, and a document back to its fields.
//!
//! The form knows populations of up to three conditions, each on one record, taken all together or any of them; whatever
//! is more goes as a document. Nothing here decides whether a query makes sense: that is the engine's check.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use linkage_agreement::{PartyId, Period};
use linkage_cohort::Unit;
use linkage_cohort::query::{Condition, Grain, Measure, Population, Query, Range, When};
use linkage_cohort::study::Study;
use linkage_common::error::ServiceError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lang::Lang;
use super::table::{dimension, unit};

/// Conditions of the form.
pub(super) const CONDITIONS: usize = 3;
/// Breakdowns of the form.
pub(super) const BREAKDOWNS: usize = 4;

/// One condition's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) party: String,
    pub(super) when: String,
    pub(super) except: bool,
    /// `attribute=value`.
    pub(super) values: Vec<String>,
}

impl Fields {
    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.party.is_empty() && self.values.is_empty() && matches!(self.when.as_str(), "" | "same")
    }
}

/// The form's fields, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) measure: String,
    pub(super) of: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) grain: String,
    pub(super) breakdown: Vec<String>,
    pub(super) any: bool,
    pub(super) conditions: [Fields; CONDITIONS],
    /// The population is more than the form shows.
    pub(super) beyond: bool,
}

/// A code of a document by its word, as serde writes it.
fn coded<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

/// The word of a code.
pub(super) fn word(code: &impl Serialize) -> String {
    serde_json::to_value(code).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn invalid(field: &str) -> ServiceError {
    ServiceError::invalid(format!("le champ « {field} » est vide ou inconnu ; choisissez une valeur de la liste"))
}

impl Form {
    /// From a form's pairs; what is unknown is left out.
    pub(super) fn of_pairs(pairs: &[(String, String)]) -> Self {
        let mut form = Self::default();
        for (name, value) in pairs {
            let value = value.trim();
            match name.as_str() {
                "titre" => value.clone_into(&mut form.title),
                "unite" => value.clone_into(&mut form.unit),
                "mesure" => value.clone_into(&mut form.measure),
                "attribut" => value.clone_into(&mut form.of),
                "du" => value.clone_into(&mut form.from),
                "au" => value.clone_into(&mut form.to),
                "pas" => value.clone_into(&mut form.grain),
                "ensemble" => form.any = value == "any",
                "ventilation" if !value.is_empty() && !form.breakdown.iter().any(|b| b == value) => {
                    form.breakdown.push(value.to_owned());
                }
                other => {
                    let Some((number, field)) = other.strip_prefix('c').and_then(|rest| rest.split_once('.')) else { continue };
                    let at = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                    let Some(condition) = at.and_then(|at| form.conditions.get_mut(at)) else { continue };
                    match field {
                        "partenaire" => value.clone_into(&mut condition.party),
                        "quand" => value.clone_into(&mut condition.when),
                        "sauf" => condition.except = true,
                        "valeur" if !value.is_empty() => condition.values.push(value.to_owned()),
                        _ => {}
                    }
                }
            }
        }
        form
    }

    /// From a document.
    pub(super) fn of_query(query: &Query) -> Self {
        let mut form = Self {
            title: query.title.clone(),
            unit: word(&query.unit),
            measure: word(&query.measure),
            of: query.of.clone().unwrap_or_default(),
            from: query.periods.from.to_string(),
            to: query.periods.to.to_string(),
            grain: word(&query.grain),
            breakdown: query.breakdown.clone(),
            ..Self::default()
        };
        let sets: &[Population] = match &query.population {
            None => &[],
            Some(Population::All { all }) => all,
            Some(Population::Any { any }) => {
                form.any = true;
                any
            }
            Some(one) => std::slice::from_ref(one),
        };
        let conditions: Option<Vec<Fields>> = sets.iter().map(fields).collect();
        match conditions.filter(|c| c.len() <= CONDITIONS) {
            Some(known) => {
                for (place, condition) in form.conditions.iter_mut().zip(known) {
                    *place = condition;
                }
            }
            None => form.beyond = true,
        }
        form
    }

    /// The form that a visitor meets first: the last year's stock.
    pub(super) fn first(study: &Study) -> Self {
        let months = &study.months;
        let from = months.get(months.len().saturating_sub(12)).map(|m| m.period.to_string());
        Self {
            unit: "persons".to_owned(),
            measure: "stock".to_owned(),
            grain: "month".to_owned(),
            from: from.unwrap_or_default(),
            to: months.last().map(|m| m.period.to_string()).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The document.
    ///
    /// # Errors
    /// `Invalid`: a field without a value that a document could hold.
    pub(super) fn query(&self, lang: Lang) -> Result<Query, ServiceError> {
        let counted: Unit = coded(&self.unit).ok_or_else(|| invalid("unité"))?;
        let measure: Measure = coded(&self.measure).ok_or_else(|| invalid("mesure"))?;
        let month = |text: &str, field: &str| text.parse::<Period>().map_err(|_| invalid(field));
        let mut sets = Vec::new();
        for condition in self.conditions.iter().filter(|c| !c.is_empty()) {
            let set = Population::Record(condition.condition()?);
            sets.push(if condition.except { Population::Not { not: Box::new(set) } } else { set });
        }
        let population = match sets.len() {
            0 => None,
            1 => sets.pop(),
            _ if self.any => Some(Population::Any { any: sets }),
            _ => Some(Population::All { all: sets }),
        };
        let title = if self.title.is_empty() {
            let mut title = format!("{}, {}", unit(lang, counted), dimension(lang, &self.measure));
            if let Some(first) = title.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            title
        } else {
            self.title.clone()
        };
        Ok(Query {
            title,
            unit: counted,
            measure,
            of: Some(self.of.clone()).filter(|of| !of.is_empty()),
            periods: Range { from: month(&self.from, "du mois")?, to: month(&self.to, "au mois")? },
            grain: coded::<Grain>(&self.grain).ok_or_else(|| invalid("pas"))?,
            breakdown: self.breakdown.clone(),
            population,
        })
    }
}

impl Fields {
    fn condition(&self) -> Result<Condition, ServiceError> {
        let party =
            if self.party.is_empty() { None } else { Some(self.party.parse::<PartyId>().map_err(|_| invalid("partenaire"))?) };
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in &self.values {
            let (name, value) = pair.split_once('=').ok_or_else(|| invalid("valeur"))?;
            attributes.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        let when = if self.when.is_empty() { When::Same } else { coded(&self.when).ok_or_else(|| invalid("quand"))? };
        Ok(Condition { party, attributes, when, period: None })
    }
}

/// A set as one condition's fields, where it is that simple.
fn fields(set: &Population) -> Option<Fields> {
    let (condition, except) = match set {
        Population::Record(condition) => (condition, false),
        Population::Not { not } => match not.as_ref() {
            Population::Record(condition) => (condition, true),
            _ => return None,
        },
        _ => return None,
    };
    if condition.period.is_some() {
        return None;
    }
    let values = condition.attributes.iter().flat_map(|(name, values)| values.iter().map(move |v| format!("{name}={v}")));
    let party = condition.party.as_ref().map(ToString::to_string).unwrap_or_default();
    Some(Fields { party, when: word(&condition.when), except, values: values.collect() })
}

/// A query as it stands in addresses.
pub(super) fn in_address(query: &Query) -> Result<String, ServiceError> {
    Ok(URL_SAFE_NO_PAD.encode(query.to_json().map_err(ServiceError::internal)?))
}

/// Reads what [`in_address`] wrote.
///
/// # Errors
/// `Invalid`.
pub(super) fn of_address(text: &str) -> Result<Query, ServiceError> {
    let cut = || ServiceError::invalid("cette adresse est incomplète ; reprenez la requête depuis son formulaire");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| cut())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| cut())?;
    Query::from_json(text).map_err(|e| ServiceError::invalid(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn fields_make_a_document_and_the_document_makes_the_fields() {
        let typed = "titre=Essai&unite=persons&mesure=stock&du=2024-01&au=2024-12&pas=month&ventilation=sexe&ventilation=&\
                     ventilation=age&ventilation=sexe&ensemble=any&c1.partenaire=siao&c1.valeur=hebergement%3DRUE&\
                     c1.valeur=hebergement%3DABRI&c1.quand=same&c2.quand=same&c3.partenaire=ccas&c3.sauf=1&c3.quand=ever&c9.x=1";
        let query = Form::of_pairs(&pairs(typed)).query(Lang::Fr).unwrap();
        let expected = Query::from_toml(
            r#"
            title = "Essai"
            measure = "stock"
            periods = { from = "2024-01", to = "2024-12" }
            breakdown = ["sexe", "age"]
            [population]
            any = [
                { party = "siao", where = { hebergement = ["RUE", "ABRI"] } },
                { not = { party = "ccas", when = "ever" } },
            ]
            "#,
        )
        .unwrap();
        assert_eq!(query, expected);
        let form = Form::of_query(&query);
        assert!(!form.beyond);
        assert_eq!(form.query(Lang::Fr).unwrap(), query);
        assert_eq!(of_address(&in_address(&query).unwrap()).unwrap(), query);
    }

    #[test]
    fn what_the_form_cannot_show_is_said_and_not_dropped() {
        let deep = r#"{"title":"x","measure":"count","periods":{"from":"2024-01","to":"2024-01"},
            "population":{"all":[{"any":[{"party":"a"},{"party":"b"}]}]}}"#;
        assert!(Form::of_query(&Query::from_json(deep).unwrap()).beyond);
        let fixed = deep.replace(r#"{"any":[{"party":"a"},{"party":"b"}]}"#, r#"{"period":"2024-01"}"#);
        assert!(Form::of_query(&Query::from_json(&fixed).unwrap()).beyond);
    }

    #[test]
    fn bad_fields_are_refused_in_words() {
        let good = "unite=persons&mesure=stock&du=2024-01&au=2024-12&pas=month";
        assert!(Form::of_pairs(&pairs(good)).query(Lang::En).unwrap().title.starts_with("Distinct persons"));
        for (from, to) in [("persons", "tonnes"), ("stock", ""), ("2024-01", "janvier"), ("month", "week")] {
            let error = Form::of_pairs(&pairs(&good.replace(from, to))).query(Lang::Fr).unwrap_err();
            assert!(error.message.contains("choisissez"), "{error}");
        }
        let party = format!("{good}&c1.partenaire=%3Cscript%3E");
        assert!(Form::of_pairs(&pairs(&party)).query(Lang::Fr).is_err());
        for address in ["", "@@", "bm9u", &URL_SAFE_NO_PAD.encode([0xff, 0xfe])] {
            assert!(of_address(address).is_err(), "{address}");
        }
    }
}
