"""Adding and removing accounts: whose credentials these are, their names, how users sign in and out."""

from app.accounts.onboarding.onboarding import Admitted as Admitted
from app.accounts.onboarding.onboarding import Onboarding as Onboarding
