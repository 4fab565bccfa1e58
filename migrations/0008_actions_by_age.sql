-- Serves `Upkeep::forget_actions`. Without it each step of forgetting read every action there is: with ten million of
-- them, longer than a statement may take.
create index action_by_age on action (first_seen_at);
