//! Many rows in one INSERT, with the placeholders that each database takes: sqlx's own builder writes `?` for both.

use sqlx::any::AnyArguments;
use sqlx::error::BoxDynError;
use sqlx::{Any, Arguments, Encode, QueryBuilder, Type};

use super::Connection;

/// One INSERT of many rows. SQLite binds at most 32,766 values to a statement, PostgreSQL 65,535.
pub struct InsertRows {
    insert: &'static str,
    ends: &'static str,
    rows: usize,
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
    /// `insert` is `INSERT INTO table (column, …)`; `bind` binds the columns of each row, as many of one as of another.
    pub fn new<R>(insert: &'static str, rows: impl IntoIterator<Item = R>, mut bind: impl FnMut(&mut Values, R)) -> Self {
        let mut values = Values { arguments: AnyArguments::default(), refused: None };
        let mut count = 0;
        for row in rows {
            bind(&mut values, row);
            count += 1;
        }
        Self { insert, ends: "", rows: count, values }
    }

    /// Passes over rows that are there already.
    #[must_use]
    pub fn or_nothing(mut self) -> Self {
        self.ends = " ON CONFLICT DO NOTHING";
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
        // To SQLite `$1` is a name, looked up among all of them for each value: more than half of the work of an insertion.
        let numbered = connection.backend_name() == <sqlx::Postgres as sqlx::Database>::NAME;
        let values = self.values.arguments.len();
        let columns = (values / self.rows.max(1)).max(1);
        let mut text = format!("{} VALUES ", self.insert);
        for number in 0..values {
            let before = match (number, number % columns) {
                (0, _) => "(",
                (_, 0) => "), (",
                _ => ", ",
            };
            text.push_str(before);
            text.push_str(if numbered { "$" } else { "?" });
            if numbered {
                text.push_str(&(number + 1).to_string());
            }
        }
        text.push(')');
        text.push_str(self.ends);
        let mut insert = QueryBuilder::<Any>::with_arguments(text, self.values.arguments);
        Ok(insert.build().execute(connection).await?.rows_affected())
    }
}
