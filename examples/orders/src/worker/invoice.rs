//! Invoices, which take time to compute.

use std::fmt::Write;

use conclib::prelude::*;

use crate::{Order, RenderInvoice};

/// Renders one invoice at a time; the worker has a pool of them.
#[derive(Debug, Actor)]
pub struct Renderer;

#[handlers]
impl Renderer {
    /// Computes beside the runtime's threads, which serve orders meanwhile.
    #[handler]
    pub async fn render(
        &mut self,
        RenderInvoice(order): RenderInvoice,
        ctx: &mut Context<Self>,
    ) -> String {
        ctx.spawn_blocking(move |cancel| invoice(&order, || cancel.is_cancelled()))
            .await
    }
}

/// A line for each piece. Stops early if the customer has gone.
fn invoice(order: &Order, is_cancelled: impl Fn() -> bool) -> String {
    let mut text = format!("Invoice for order {}\n", order.id);
    let mut sum = 0_u64;
    for piece in 1..=order.quantity {
        if is_cancelled() {
            break;
        }
        sum = sum.saturating_add(order.cents);
        let _ = writeln!(
            text,
            "{piece:>3}. {} {:>12}",
            order.item,
            euros(order.cents)
        );
    }
    let _ = writeln!(text, "{:?}: {}", order.status, euros(sum));
    text
}

fn euros(cents: u64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn invoice_has_a_line_for_each_piece_and_stops_when_it_is_cancelled() {
        let order = Order {
            id: "a-1".to_owned(),
            item: "tea".to_owned(),
            quantity: 3,
            cents: 450,
            status: Status::Paid,
        };
        let text = invoice(&order, || false);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.ends_with("Paid: 13.50 €\n"), "{text}");
        assert_eq!(invoice(&order, || true).lines().count(), 2);
    }
}
