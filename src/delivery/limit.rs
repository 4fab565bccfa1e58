//! How many requests a lane may have in flight: halves when Twilio pushes back, and grows by one a round; until it is
//! pushed back for the first time, by one an answer, which doubles it each round (slow start: RFC 5681, section 3.1).
//! One a round alone would need a thousand rounds to a thousand in flight, 80 s at Twilio's pace.
//!
//! Twilio limits concurrency per account and publishes no number, and the customer's own sends share it
//! (<https://www.twilio.com/docs/api/errors/20429>). So the limit starts small, is found out, and yields first.

/// Where a lane starts, before it knows more.
const START: u32 = 8;

/// A lane's limit of requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    now: u32,
    most: u32,
    /// Good answers since the limit last moved.
    good: u32,
    /// Nobody has pushed back yet: how much there is, is not known.
    searching: bool,
    /// Rounds of pushing back. Requests of one round are pushed back together, and count once.
    round: u64,
    yield_above: u32,
}

/// What an answer says about the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Answered, with so many of the account's requests in flight, where Twilio told.
    Answered { concurrent: Option<u32> },
    /// Throttled, or not answered in time.
    PushedBack,
}

impl Limit {
    pub fn new(most: u32, yield_above: u32) -> Self {
        Self { now: START.min(most), most, good: 0, searching: true, round: 0, yield_above }
    }

    pub const fn now(&self) -> u32 {
        self.now
    }

    /// The round that a request belongs to, to be given back with its answer.
    pub const fn round(&self) -> u64 {
        self.round
    }

    /// Sets what an operator decides anew. Gives by how much the limit moved.
    pub fn set(&mut self, most: u32, yield_above: u32) -> i64 {
        let before = self.now;
        (self.most, self.yield_above) = (most, yield_above);
        if most < self.now {
            self.shrink_to(most);
        }
        i64::from(self.now) - i64::from(before)
    }

    /// Learns from an answer to a request of `round`. Gives by how much the limit moved.
    pub fn learn(&mut self, round: u64, load: Load) -> i64 {
        let before = self.now;
        match load {
            Load::PushedBack if round == self.round => self.shrink_to(self.now / 2),
            Load::Answered { concurrent: Some(busy) } if self.yield_above < busy && round == self.round => {
                self.shrink_to(self.now - self.now.div_ceil(4));
            }
            Load::Answered { concurrent } if concurrent.is_none_or(|busy| busy <= self.yield_above) => self.grow(),
            _ => {}
        }
        i64::from(self.now) - i64::from(before)
    }

    fn grow(&mut self) {
        self.good += 1;
        if (self.searching || self.now <= self.good) && self.now < self.most {
            self.now += 1;
            self.good = 0;
        }
        self.good = self.good.min(self.most);
    }

    fn shrink_to(&mut self, limit: u32) {
        self.now = limit.max(1);
        self.searching = false;
        self.good = 0;
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Load = Load::Answered { concurrent: Some(3) };

    #[test]
    fn once_pushed_back_a_round_of_good_answers_adds_one_up_to_the_most() {
        let mut limit = Limit::new(10, 64);
        assert_eq!((limit.now(), limit.learn(0, Load::PushedBack)), (8, -4));
        for _ in 0..4 {
            limit.learn(1, FINE);
        }
        assert_eq!(limit.now(), 5);
        for _ in 0..100 {
            limit.learn(1, FINE);
        }
        assert_eq!(limit.now(), 10);
    }

    #[test]
    fn until_it_is_pushed_back_a_round_of_good_answers_doubles_it() {
        let mut limit = Limit::new(1000, 64);
        for round in [8, 16, 32, 64, 128] {
            assert_eq!(limit.now(), round);
            (0..round).for_each(|_| assert_eq!(limit.learn(0, FINE), 1));
        }
    }

    #[test]
    fn one_round_that_is_pushed_back_halves_the_limit_once() {
        let mut limit = Limit::new(32, 64);
        assert_eq!(limit.learn(0, Load::PushedBack), -4);
        assert_eq!(limit.learn(0, Load::PushedBack), 0, "it was sent before the limit shrank");
        assert_eq!(limit.learn(1, Load::PushedBack), -2);
        for round in 2..9 {
            limit.learn(round, Load::PushedBack);
        }
        assert_eq!(limit.now(), 1, "one is always left");
    }

    #[test]
    fn feedback_yields_when_the_account_is_busy() {
        let mut limit = Limit::new(32, 64);
        assert_eq!(limit.learn(0, Load::Answered { concurrent: Some(65) }), -2);
        assert_eq!(limit.learn(0, Load::Answered { concurrent: Some(65) }), 0);
        assert_eq!(limit.now(), 6);
    }

    #[test]
    fn a_new_most_takes_hold_at_once_when_it_is_lower_and_is_grown_into_when_it_is_higher() {
        let mut limit = Limit::new(10, 64);
        assert_eq!((limit.set(3, 64), limit.now()), (-5, 3));
        assert_eq!((limit.set(5, 64), limit.now()), (0, 3));
        for _ in 0..100 {
            limit.learn(1, FINE);
        }
        assert_eq!(limit.now(), 5);
    }

    #[test]
    fn it_never_starts_above_the_most() {
        assert_eq!(Limit::new(2, 64).now(), 2);
    }
}
