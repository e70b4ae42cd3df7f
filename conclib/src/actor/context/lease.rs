//! Methods of a context for the lease of its system.

use crate::actor::Handlers;
use crate::actor::context::Context;

impl<A: Handlers> Context<A> {
    /// The fencing token of this actor's system: the epoch of the lease that it holds, or held last.
    /// Each holder of a node's lease has a greater one than all before it. `None` if the system never
    /// had a lease.
    ///
    /// A lease alone does not keep two processes apart in the last moment: one that was suspended, or
    /// that was replaced by a younger process of its [instance](crate::Config::instance), may be amid a
    /// handler while the next one serves, and begins messages that were in its mailboxes until it
    /// notices (at its next renewal, after a third of [the lease's
    /// duration](crate::Config::lease_duration) at the latest). Where that matters, the resource itself
    /// has to refuse the older one: a database stores the token with each change, and accepts no
    /// smaller one afterwards. It fits into 63 bits, and is about the time in milliseconds since 1970.
    ///
    /// Only a resource that compares the token in the same step in which it writes refuses the older
    /// process: a row of a database (`UPDATE … WHERE token <= ?`), a conditional put of an object store. A
    /// plain file does not: between a look at the token in it and the write, the other process may write
    /// too, and renaming a finished file over it does not help either. State in a file is safe with one
    /// process at a time, which is stopped before the next one is started.
    ///
    /// A system with several proxies, for several nodes, has one token: the greatest of theirs.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = Result<(), OutOfDate>)]
    /// struct Deposit { cents: u64 }
    ///
    /// #[derive(Serialize, Deserialize, Debug, PartialEq)]
    /// struct OutOfDate;
    ///
    /// /// A database with one account.
    /// # #[derive(Default)]
    /// struct Database { newest: u64, cents: u64 }
    ///
    /// impl Database {
    ///     /// As SQL: `UPDATE account SET cents = cents + ?1, token = ?2 WHERE token <= ?2`.
    ///     fn deposit(&mut self, cents: u64, token: u64) -> Result<(), OutOfDate> {
    ///         if token < self.newest {
    ///             return Err(OutOfDate);           // a newer process has been here
    ///         }
    ///         (self.newest, self.cents) = (token, self.cents + cents);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "account")]
    /// struct Account { database: Database }
    ///
    /// #[handlers]
    /// impl Account {
    ///     #[handler]
    ///     fn deposit(&mut self, message: Deposit, ctx: &mut Context<Self>) -> Result<(), OutOfDate> {
    ///         self.database.deposit(message.cents, ctx.token().unwrap_or(0))
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (system, config) = (ActorSystem::new(), Config::memory());
    /// # system.spawn(Account { database: Database::default() }).await?;
    /// # start_proxy(&system, &config).await?;
    /// # let client = ProxyClient::connect(&config).await?;
    /// assert_eq!(client.ask("account", Deposit { cents: 5 }).await?, Ok(()));
    /// # Ok(()) }
    /// ```
    pub fn token(&self) -> Option<u64> {
        self.system_link().token()
    }

    /// True while other processes can ask the actors of this system: it has a lease, and serves. False
    /// for a system without a proxy.
    ///
    /// Work that one process at a time is to do, such as that of a timer, can be left out while this
    /// is false; with [`Schedule::while_serving`](crate::schedule::Schedule::while_serving), regular
    /// messages wait for it.
    pub fn is_serving(&self) -> bool {
        self.system_link().host().is_serving()
    }
}
