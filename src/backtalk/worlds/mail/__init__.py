"""Mail world: requests for mails with facts and a style that suits the recipient."""
