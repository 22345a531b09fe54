from .learned import Learned as Learned
from .learned import LearnedEntry as LearnedEntry
from .learned import LearnedPolicy as LearnedPolicy
from .learned import learned_between as learned_between
from .policy_report import evaluation_report as evaluation_report
from .policy_report import read_examples as read_examples
from .policy_report import read_training as read_training
from .policy_report import save_examples as save_examples
