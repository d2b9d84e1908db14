"""Users, sessions, sign-up, login: who somebody is, before any organization is known."""
