//! Messages that the processes of these examples share.

use conclib::prelude::*;

/// Asks for twice a number.
#[derive(ActorMessage, Serialize, Deserialize, Debug)]
#[message(response = Doubled)]
pub struct Double {
    /// The number.
    pub n: u32,
}

/// Twice a number. A response needs serde only.
#[derive(Serialize, Deserialize, Debug)]
pub struct Doubled {
    /// Twice the number.
    pub n: u64,
}

/// Withdraws money from an account. A refusal is part of the response.
#[derive(ActorMessage, Serialize, Deserialize, Debug)]
#[message(name = "billing.Withdraw", response = Result<Receipt, Declined>)]
pub struct Withdraw {
    /// The amount, in cents.
    pub cents: u64,
}

impl Withdraw {
    /// Takes the money out of a balance, if there is enough.
    ///
    /// # Errors
    ///
    /// [`Declined`], and the balance is as it was.
    pub fn take_from(&self, balance: &mut u64) -> Result<Receipt, Declined> {
        match balance.checked_sub(self.cents) {
            Some(left) => {
                *balance = left;
                Ok(Receipt { balance: left })
            }
            None => Err(Declined {
                missing: self.cents - *balance,
            }),
        }
    }
}

/// The response to a withdrawal.
#[derive(Serialize, Deserialize, Debug)]
pub struct Receipt {
    /// The balance, in cents.
    pub balance: u64,
}

/// There is not enough money.
#[derive(Serialize, Deserialize, Debug)]
pub struct Declined {
    /// The missing amount, in cents.
    pub missing: u64,
}
