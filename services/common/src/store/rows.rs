//! Many rows in one INSERT, with numbered placeholders: both databases take them, and sqlx's own builder writes `?`.

use sqlx::any::AnyArguments;
use sqlx::error::BoxDynError;
use sqlx::{Any, Arguments, Encode, QueryBuilder, Type};

use super::Connection;

/// One INSERT of many rows. SQLite binds at most 32,766 values to a statement, PostgreSQL 65,535.
pub struct InsertRows {
    text: String,
    values: Values,
}

/// The values of one row, in the order of the columns.
pub struct Values {
    arguments: AnyArguments,
    refused: Option<BoxDynError>,
}

impl Values {
    /// The next column's value.
    pub fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.refused.get_or_insert(error);
        }
        self
    }
}

impl InsertRows {
    /// `insert` is `INSERT INTO table (column, …)`; `bind` binds the columns of each row.
    pub fn new<R>(insert: &'static str, rows: impl IntoIterator<Item = R>, mut bind: impl FnMut(&mut Values, R)) -> Self {
        let mut text = format!("{insert} VALUES ");
        let mut values = Values { arguments: AnyArguments::default(), refused: None };
        let mut separator = "";
        for row in rows {
            let from = values.arguments.len();
            bind(&mut values, row);
            text.push_str(separator);
            for number in from..values.arguments.len() {
                text.push_str(if number == from { "($" } else { ", $" });
                text.push_str(&(number + 1).to_string());
            }
            separator = "), ";
        }
        text.push(')');
        Self { text, values }
    }

    /// Passes over rows that are there already.
    #[must_use]
    pub fn or_nothing(mut self) -> Self {
        self.text.push_str(" ON CONFLICT DO NOTHING");
        self
    }

    /// Inserts them; returns how many. There must be one row at least.
    ///
    /// # Errors
    /// The database's.
    pub async fn execute(self, connection: &mut Connection) -> Result<u64, sqlx::Error> {
        if let Some(refused) = self.values.refused {
            return Err(sqlx::Error::Encode(refused));
        }
        let mut insert = QueryBuilder::<Any>::with_arguments(self.text, self.values.arguments);
        Ok(insert.build().execute(connection).await?.rows_affected())
    }
}
