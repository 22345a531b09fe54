from .lessons import EntryLesson as EntryLesson
from .lessons import Lessons as Lessons
from .lessons import PolicyLesson as PolicyLesson
from .lessons import lessons_between as lessons_between
from .policy_report import evaluation_report as evaluation_report
from .policy_report import read_examples as read_examples
from .policy_report import read_training as read_training
from .policy_report import save_examples as save_examples
