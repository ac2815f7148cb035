"""One page to order, one to look at an order."""

from django.urls import path
from shop import views

urlpatterns = [
    path("orders", views.order),
    path("orders/<int:number>", views.look),
]
