//! The database: `SQLite`, whose calls block, on a thread of its own.

use std::path::Path;
use std::time::Duration;

use conclib::prelude::*;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::{Order, Status};

/// Every change is on the disk when it is answered (`synchronous = FULL`).
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS orders (
        id TEXT PRIMARY KEY, item TEXT NOT NULL, quantity INTEGER NOT NULL,
        cents INTEGER NOT NULL, status TEXT NOT NULL
    ) STRICT;
    -- One row: the token of the newest worker.
    CREATE TABLE IF NOT EXISTS fence (one INTEGER PRIMARY KEY CHECK (one = 1), token INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO fence VALUES (1, 0);";

const RAISE_FENCE: &str = "UPDATE fence SET token = ?1 WHERE token <= ?1";

const LOAD: &str = "SELECT id, item, quantity, cents, status FROM orders WHERE id = ?1";

/// Writes nothing if a newer worker has raised the fence.
const SAVE: &str = "
    INSERT INTO orders (id, item, quantity, cents, status)
    SELECT ?1, ?2, ?3, ?4, ?5 FROM fence WHERE token <= ?6
    ON CONFLICT (id) DO UPDATE SET status = excluded.status";

/// Reads an order.
#[derive(Debug, ActorMessage)]
#[message(local, response = Result<Option<Order>, StoreError>)]
pub struct Load {
    /// The id of the order.
    pub id: String,
}

/// Writes an order, or its new status.
#[derive(Debug, ActorMessage)]
#[message(local, response = Result<(), StoreError>)]
pub struct Save(pub Order);

/// The database has not done as it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// This process' lease is over, and it has not noticed yet.
    #[error("a newer worker has the database")]
    Outdated,
    /// An error of `SQLite`.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// The orders in a database.
#[derive(Debug, Actor)]
#[actor(urn = "store", thread, private)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the database, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sqlite`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }

    /// Runs a statement that changes a row, unless the fence keeps it from that.
    fn change(&self, sql: &str, values: &[&dyn ToSql]) -> Result<(), StoreError> {
        let changed = self.connection.prepare_cached(sql)?.execute(values)?;
        (changed > 0).then_some(()).ok_or(StoreError::Outdated)
    }
}

/// Its errors are answers: the database works on for other orders.
#[handlers]
impl Store {
    /// Keeps all earlier processes from writing, before the first order is read.
    fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        Ok(self.change(RAISE_FENCE, &[&token(ctx)])?)
    }

    #[handler]
    fn load(&mut self, Load { id }: Load) -> Result<Option<Order>, StoreError> {
        let mut load = self.connection.prepare_cached(LOAD)?;
        Ok(load.query_row([id], read).optional()?)
    }

    #[handler]
    fn save(&mut self, Save(order): Save, ctx: &mut Context<Self>) -> Result<(), StoreError> {
        let Order {
            id,
            item,
            quantity,
            cents,
            status,
        } = order;
        self.change(
            SAVE,
            params![id, item, quantity, cents.cast_signed(), status, token(ctx)],
        )
    }
}

/// The fencing token of this process; it fits into 63 bits.
fn token(ctx: &Context<Store>) -> i64 {
    ctx.token().unwrap_or(0).cast_signed()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Order> {
    Ok(Order {
        id: row.get(0)?,
        item: row.get(1)?,
        quantity: row.get(2)?,
        cents: row.get::<_, i64>(3)?.cast_unsigned(),
        status: row.get(4)?,
    })
}

impl ToSql for Status {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }))
    }
}

impl FromSql for Status {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "open" => Ok(Self::Open),
            "paid" => Ok(Self::Paid),
            "cancelled" => Ok(Self::Cancelled),
            "expired" => Ok(Self::Expired),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
