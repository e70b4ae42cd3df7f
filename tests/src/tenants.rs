//! Actors that see the tenant of their asker, an attribute.

use conclib::envelope::Attributes;
use conclib::prelude::*;

use crate::Log;

/// Asks for the tenant that the handler sees.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[message(response = String)]
pub struct Tenant;

/// Logs the tenant that the handler sees.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTenant;

/// As [`Tenant`], but durable.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(durable, response = String)]
pub struct StoredTenant;

/// Says which tenant it sees.
#[derive(Actor, Debug)]
#[actor(urn = "back")]
pub struct Back(pub Log);

fn tenant(attributes: &Attributes) -> String {
    attributes.get("tenant").unwrap_or("none").to_owned()
}

#[handlers]
impl Back {
    #[handler]
    async fn tenant(&mut self, _: Tenant, ctx: &mut Context<Self>) -> String {
        tokio::task::yield_now().await;
        tenant(ctx.attributes())
    }

    #[handler]
    fn log_tenant(&mut self, _: LogTenant, ctx: &mut Context<Self>) {
        self.0.add(tenant(ctx.attributes()));
    }

    #[handler]
    fn stored_tenant(&mut self, _: StoredTenant, ctx: &mut Context<Self>) -> String {
        tenant(ctx.attributes())
    }

    fn on_stop(&mut self, ctx: &mut Context<Self>) {
        self.0.add(tenant(ctx.attributes()));
    }
}

/// Asks an actor of another system, for the tenant of its own asker or for none.
#[derive(Actor, Debug)]
#[actor(urn = "front")]
pub struct Front {
    /// The client of the other system.
    pub other: ProxyClient,
    /// True to pass the attributes of its own asker on.
    pub inherits: bool,
}

#[handlers]
impl Front {
    #[handler]
    async fn tenant(&mut self, _: Tenant, ctx: &mut Context<Self>) -> Result<String, Failure> {
        let ask = self.other.ask("back", Tenant);
        let ask = if self.inherits {
            ask.attributes(ctx.attributes())
        } else {
            ask
        };
        Ok(ask.await?)
    }
}
